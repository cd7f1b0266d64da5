"""Addresses of network cards and cloud-init, as options of `server launch-settings` write them."""

import re
from pathlib import Path
from typing import Final

import typer

from app.contract.guestwords import AddressingMode, CloudInitMode
from app.contract.resources.addressing import MOST_USER_DATA, CloudInit, NicAddressing

_STATIC: Final = re.compile(r"(\S+)(?:\s+via\s+(\S+))?(?:\s+dns\s+(\S+))?")


def nic_addressing(text: str) -> NicAddressing:
    """What `NIC=dhcp`, `NIC=keep` or `NIC=ADDRESS/PREFIX,… via GATEWAY,… dns SERVER,…` says."""
    nic, sign, place = text.partition("=")
    found = _STATIC.fullmatch(place.strip())
    if not sign or found is None:
        raise typer.BadParameter(
            f"{text!r} says no addresses: write NIC=dhcp, NIC=keep or "
            "'NIC=10.0.0.5/24 via 10.0.0.1 dns 10.0.0.2'"
        )
    if place.strip() in (AddressingMode.KEEP, AddressingMode.DHCP):
        return NicAddressing(nic=nic, mode=AddressingMode(place.strip()))
    addresses, gateways, dns = (_several(each) for each in found.groups())
    return NicAddressing(nic=nic, mode=AddressingMode.STATIC, addresses=addresses, gateways=gateways, dns=dns)


def _several(text: str | None) -> tuple[str, ...]:
    return tuple(part for part in (text or "").split(",") if part)


def addressing_text(wanted: NicAddressing) -> str:
    """The same as `nic_addressing` reads it."""
    if wanted.mode is not AddressingMode.STATIC:
        return f"{wanted.nic}={wanted.mode.value}"
    via = f" via {','.join(wanted.gateways)}" if wanted.gateways else ""
    dns = f" dns {','.join(wanted.dns)}" if wanted.dns else ""
    return f"{wanted.nic}={','.join(wanted.addresses)}{via}{dns}"


def chosen_cloud_init(mode: CloudInitMode | None, file: Path | None, known: CloudInit | None) -> CloudInit:
    """What the options say; a file means `nocloud`, which without one takes the user-data that is set."""
    if file is not None:
        return CloudInit(mode=mode or CloudInitMode.NOCLOUD, user_data=_read(file))
    if mode is CloudInitMode.NOCLOUD:
        if known is None or known.mode is not mode:
            raise typer.BadParameter("nocloud needs the user-data: --user-data FILE")
        return known
    return CloudInit(mode=mode or CloudInitMode.KEEP)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as data:
            content = data.read(MOST_USER_DATA + 1)
        if len(content) > MOST_USER_DATA:
            raise typer.BadParameter(f"{file} is larger than {MOST_USER_DATA} bytes: user-data is not")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read as text: {error}") from error
