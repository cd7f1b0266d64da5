"""`go2cloud server launch-settings`: the machine that a test makes of a server, and what is looked at in it.

The command is put under `server` by `app.cli.command`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from app.cli.addressing import addressing_text, chosen_cloud_init, nic_addressing
from app.cli.connection import connected
from app.cli.durations import duration
from app.cli.output import Column, Format, Out, View, show_one, size
from app.cli.servers import ServerRef
from app.client import tests
from app.contract.guestwords import CloudInitMode
from app.contract.resources.launch import (
    HttpCheck,
    LaunchCheck,
    LaunchNic,
    LaunchSettings,
    LaunchSettingsUpdate,
    LoginCheck,
    ScreenCheck,
    ScriptCheck,
    TcpCheck,
)
from app.contract.words import CheckKind, ConversionMode, DiskBus, Firmware

_HTTP: Final = re.compile(r"(\d{1,5})(/[^=]*)?(?:=(.*))?", re.DOTALL)


def _nic_text(nic: LaunchNic) -> str:
    place = ",".join(part for part in (nic.address, nic.gateway) if part)
    return f"{nic.mac}={place}" if place else nic.mac


def _check_text(check: LaunchCheck) -> str:
    if isinstance(check, HttpCheck):
        body = f"={check.body}" if check.body is not None else ""
        return f"http{'s' if check.tls else ''} {check.port}{check.path}{body}"
    if isinstance(check, TcpCheck):
        return f"tcp {check.port}"
    if isinstance(check, ScriptCheck):
        return " ".join((f"script {check.script}", *check.arguments))
    return check.kind.value


def _set(found: LaunchSettings) -> list[str]:
    return sorted(found.settings.model_dump(exclude_defaults=True))


VIEW: View[LaunchSettings] = View(
    (
        Column("CPUS", lambda found: found.machine.cpus),
        Column("MEMORY", lambda found: found.machine.memory_bytes, show=size),
        Column("FIRMWARE", lambda found: found.machine.firmware.value),
        Column("BUS", lambda found: found.machine.bus.value),
        Column("NICS", lambda found: "; ".join(map(_nic_text, found.machine.nics)) or None),
        Column("PORTS", lambda found: ", ".join(map(str, found.machine.ports)) or None),
        Column("CHECKS", lambda found: "; ".join(map(_check_text, found.machine.checks))),
        Column("TIMEOUT", lambda found: found.machine.timeout),
        Column("LIFETIME", lambda found: found.machine.lifetime),
        Column("TARGET", lambda found: found.settings.target or "qemu"),
        Column("CONVERSION", lambda found: found.machine.conversion.value),
        Column(
            "ADDRESSES", lambda found: "; ".join(map(addressing_text, found.machine.addressing)) or "kept"
        ),
        Column("CLOUD-INIT", lambda found: found.machine.cloud_init.mode.value),
        Column("SET HERE", lambda found: ", ".join(_set(found)) or None),
    ),
    name=lambda found: found.server_id,
)


def launch_settings(
    context: typer.Context,
    server: ServerRef,
    cpus: Annotated[int | None, typer.Option(help="Processors.")] = None,
    memory: Annotated[str | None, typer.Option(help="Such as 2GiB.")] = None,
    firmware: Annotated[Firmware | None, typer.Option(help="How it boots.")] = None,
    bus: Annotated[DiskBus | None, typer.Option(help="How it sees its disks.")] = None,
    nic: Annotated[
        list[str] | None, typer.Option(help="A network card: MAC, or MAC=ADDRESS/PREFIX[,GATEWAY].")
    ] = None,
    port: Annotated[list[int] | None, typer.Option(help="A port to be reached at 127.0.0.1.")] = None,
    login: Annotated[bool | None, typer.Option(help="Wait for a login prompt on the serial line.")] = None,
    tcp: Annotated[list[int] | None, typer.Option(help="A port that must accept connections.")] = None,
    http: Annotated[
        list[str] | None, typer.Option(help="What must be answered: PORT, PORT/PATH, PORT/PATH=PATTERN.")
    ] = None,
    https: Annotated[list[str] | None, typer.Option(help="The same by TLS.")] = None,
    screen: Annotated[
        bool, typer.Option("--screen", help="The last picture of the screen must not be blank.")
    ] = False,
    script: Annotated[
        list[str] | None, typer.Option(help="A program in LAUNCH.SCRIPTS that must succeed.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="For all checks: 10s to 1h.")] = None,
    lifetime: Annotated[
        str | None, typer.Option(help="Of a test machine, from its launch: 1h to 90d.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Where its machines are made; by itself qemu.")] = None,
    conversion: Annotated[
        ConversionMode | None, typer.Option(help="Whether disks are changed so that they boot there.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a card of the source, by name or MAC: NIC=dhcp, NIC=keep, or "
            "'NIC=ADDRESS/PREFIX,… via GATEWAY,… dns SERVER,…'."
        ),
    ] = None,
    cloud_init: Annotated[
        CloudInitMode | None, typer.Option(help="What becomes of the guest's cloud-init.")
    ] = None,
    user_data: Annotated[
        Path | None, typer.Option(help="A file that cloud-init runs once, on the launched machine.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Begin with the source's, and the defaults.")
    ] = False,
    output: Out = Format.TABLE,
) -> None:
    """Show or change the machine that tests make of a server. Any check replaces all that were set."""
    changes: dict[str, object] = {
        "cpus": cpus,
        "memory_bytes": None if memory is None else _bytes(memory),
        "firmware": firmware,
        "bus": bus,
        "nics": None if nic is None else tuple(map(_nic, nic)),
        "ports": None if port is None else tuple(port),
        "checks": _checks(login, _named(tcp or [], _urls(http or [], https or []), script or [], screen)),
        "timeout": None if timeout is None else duration(timeout),
        "lifetime": None if lifetime is None else duration(lifetime),
        "target": target,
        "conversion": conversion,
        "addressing": None if address is None else tuple(map(nic_addressing, address)),
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    with connected(context) as client:
        found = client.send(tests.settings(server))
        if cloud_init is not None or user_data is not None:
            changes["cloud_init"] = chosen_cloud_init(cloud_init, user_data, found.settings.cloud_init)
        if changes or reset:
            base = {} if reset else found.settings.model_dump(exclude_defaults=True)
            wanted = LaunchSettingsUpdate.model_validate(base | changes)
            found = client.send(tests.set_settings(found.server_id, found.version, wanted))
    show_one(found, VIEW, output)


def _bytes(text: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise typer.BadParameter(f"{text!r} is no size: write such as 512MiB or 2GiB") from error


def _nic(text: str) -> LaunchNic:
    mac, _, place = text.partition("=")
    address, _, gateway = place.partition(",")
    return LaunchNic(mac=mac.lower(), address=address or None, gateway=gateway or None)


def _urls(http: Sequence[str], https: Sequence[str]) -> list[HttpCheck]:
    plain = [_url(text, number, tls=False) for number, text in enumerate(http)]
    return plain + [_url(text, number, tls=True) for number, text in enumerate(https)]


def _url(text: str, number: int, *, tls: bool) -> HttpCheck:
    found = _HTTP.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no such check: write PORT, PORT/PATH or PORT/PATH=PATTERN")
    name = ("https" if tls else "http") + (f"-{number + 1}" if number else "")
    return HttpCheck(
        kind=CheckKind.HTTP, port=int(found[1]), path=found[2] or "/", body=found[3], tls=tls, name=name
    )


def _checks(login: bool | None, named: tuple[LaunchCheck, ...]) -> tuple[LaunchCheck, ...] | None:
    """All checks, a login prompt among them unless it is not wanted; None where no option names any."""
    if login is None and not named:
        return None
    return named if login is False else (LoginCheck(kind=CheckKind.LOGIN), *named)


def _named(
    tcp: Sequence[int], http: Sequence[HttpCheck], scripts: Sequence[str], screen: bool
) -> tuple[LaunchCheck, ...]:
    return (
        *(TcpCheck(kind=CheckKind.TCP, port=port, name=f"tcp-{port}") for port in tcp),
        *http,
        *(ScriptCheck(kind=CheckKind.SCRIPT, script=name, name=f"script-{name}") for name in scripts),
        *((ScreenCheck(kind=CheckKind.SCREEN),) if screen else ()),
    )
