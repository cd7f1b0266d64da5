"""The machine of a test: what an operator set, else what the source has, within the node's caps.

`effective` is pure. `spec` and `plan` translate the contract's words into those of the launch room, which
refuses what cannot work.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.contract.guestwords import AddressingMode
from app.contract.resources import launch as contract
from app.contract.resources.addressing import CloudInit
from app.contract.resources.launch import LaunchMachine, LaunchNic, LaunchSettingsUpdate
from app.contract.words import CheckKind, ConversionMode, DiskBus, Firmware
from app.kit.errors import Invalid
from app.kit.settings import LaunchingSettings
from app.launch.boot import checks as boot
from app.launch.machine import MachineSpec, Nic
from app.migration.launch.addressing import readdressed
from app.wire import messages

MIB: Final = 1024 * 1024
LEAST_MEMORY: Final = 64 * MIB
TIMEOUT: Final = timedelta(minutes=10)
MOST_NICS: Final = 4
SETTLE_SECONDS: Final = 5.0

_VIRTUAL: Final = re.compile(r"(lo|docker|veth|br-|virbr|cni|flannel|cali|tun|tap|wg|kube|dummy|vnet)")
_MAC: Final = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_SMALLEST_NETWORK: Final = 8


def effective(
    settings: LaunchSettingsUpdate, inventory: messages.Inventory, caps: LaunchingSettings
) -> LaunchMachine:
    """The machine that these settings make of a source. Ports of checks are forwarded as well."""
    checks = settings.checks or (contract.LoginCheck(kind=CheckKind.LOGIN),)
    probed = {check.port for check in checks if isinstance(check, contract.TcpCheck | contract.HttpCheck)}
    memory = min(max(inventory.memory_bytes, LEAST_MEMORY), int(caps.memory))
    nics = _nics(inventory) if settings.nics is None else settings.nics
    return LaunchMachine(
        cpus=settings.cpus or min(max(inventory.cpu_count, 1), caps.cpus),
        memory_bytes=settings.memory_bytes or memory // MIB * MIB,
        firmware=settings.firmware or _firmware(inventory),
        bus=settings.bus or DiskBus.VIRTIO_BLK,
        nics=readdressed(nics, settings.addressing, inventory),
        ports=tuple(sorted({*settings.ports, *probed})),
        checks=checks,
        timeout=settings.timeout or TIMEOUT,
        lifetime=settings.lifetime or timedelta(hours=caps.test_hours),
        conversion=settings.conversion or ConversionMode.AUTO,
        addressing=tuple(each for each in settings.addressing if each.mode is not AddressingMode.KEEP),
        cloud_init=settings.cloud_init or CloudInit(),
    )


def _firmware(inventory: messages.Inventory) -> Firmware:
    """What the agent reported; BIOS where it could not tell."""
    return Firmware(inventory.firmware) if inventory.firmware in set(Firmware) else Firmware.BIOS


def _nics(inventory: messages.Inventory) -> tuple[LaunchNic, ...]:
    """The source's cards, those of containers and tunnels left out; the one with the default route first."""
    gateways = {route.interface: route.gateway for route in inventory.routes if _is_default(route)}
    real = [nic for nic in inventory.nics if _MAC.fullmatch(nic.mac) and not _VIRTUAL.match(nic.name)]
    ordered = sorted(real, key=lambda nic: (nic.name not in gateways, not _ipv4(nic)))
    found = tuple(_nic(nic, gateways.get(nic.name)) for nic in ordered[:MOST_NICS])
    return found or (LaunchNic(mac=MachineSpec().nics[0].mac),)


def _is_default(route: messages.Route) -> bool:
    return route.destination in ("default", "0.0.0.0/0") and bool(route.gateway)


def _nic(nic: messages.Nic, gateway: str | None) -> LaunchNic:
    address = _ipv4(nic)
    usable = address is not None and _is_ipv4(gateway)
    return LaunchNic(mac=nic.mac, address=address, gateway=gateway if usable else None)


def _is_ipv4(gateway: str | None) -> bool:
    """Whether a card can have it; an agent reports what its host says."""
    try:
        ipaddress.IPv4Address(gateway or "")
    except ValueError:
        return False
    return True


def _ipv4(nic: messages.Nic) -> str | None:
    """The first IPv4 address in a network with room for the isolated network's own addresses."""
    for text in nic.addresses:
        if ":" in text:
            continue
        try:
            network = ipaddress.IPv4Interface(text).network
        except ValueError:
            continue
        if network.num_addresses >= _SMALLEST_NETWORK:
            return text
    return None


def spec(machine: LaunchMachine) -> MachineSpec:
    """The machine as targets take it. Raises SettingsWrong."""
    return MachineSpec(
        firmware=machine.firmware,
        cpus=machine.cpus,
        memory_mib=machine.memory_bytes // MIB,
        nics=tuple(Nic(nic.mac, nic.address, nic.gateway) for nic in machine.nics),
        ports=machine.ports,
        bus=machine.bus,
    )


def plan(machine: LaunchMachine, scripts: Path | None) -> boot.CheckPlan:
    """The checks as targets take them; programs are looked for in `scripts`.

    Raises SettingsWrong, and Invalid SCRIPT_NOT_FOUND for a program that is not there.
    """
    return _plan(machine, lambda check: (str(_script(scripts, check.script)), *check.arguments))


def require_possible(machine: LaunchMachine) -> None:
    """Raises SettingsWrong for a machine or checks that no node could make.

    Whether a check's program is there, only the node can tell.
    """
    spec(machine)
    _plan(machine, lambda check: (check.script, *check.arguments))


_Argv = Callable[[contract.ScriptCheck], tuple[str, ...]]


def _plan(machine: LaunchMachine, argv: _Argv) -> boot.CheckPlan:
    checks = tuple(_check(check, argv) for check in machine.checks)
    return boot.CheckPlan(checks, machine.timeout.total_seconds(), settle_seconds=SETTLE_SECONDS)


def _check(check: contract.LaunchCheck, argv: _Argv) -> boot.Check:
    if isinstance(check, contract.LoginCheck):
        return boot.LoginCheck(check.name)
    if isinstance(check, contract.ScreenCheck):
        return boot.ScreenCheck(check.name)
    if isinstance(check, contract.TcpCheck):
        return boot.TcpCheck(check.port, check.name)
    if isinstance(check, contract.HttpCheck):
        return boot.HttpCheck(
            check.port, check.path, check.status, check.body, check.host, tls=check.tls, name=check.name
        )
    return boot.ScriptCheck(argv(check), name=check.name)


def _script(folder: Path | None, name: str) -> Path:
    """An administrator chooses the programs, an operator only which of them: this runs on the node."""
    if folder is None or not (folder / name).is_file():
        where = "LAUNCH.SCRIPTS is not set" if folder is None else f"there is no {folder / name}"
        raise Invalid(
            f"the check's program {name!r} cannot be run: {where}",
            code="SCRIPT_NOT_FOUND",
            remedy="put it into the folder that LAUNCH.SCRIPTS names on the node of role agent",
        )
    return folder / name


@dataclass(frozen=True)
class DiskPlace:
    """A disk's id and the path at which the source has it."""

    id: str
    path: str


def boot_order(disks: Iterable[DiskPlace], mounts: Iterable[messages.Mount]) -> tuple[str, ...]:
    """The ids of disks, the one that the source boots from first, the others by their paths.

    It is the one with the EFI system partition, else with /boot, else with the root filesystem. Where these
    are on logical volumes or RAID and so on no disk by name, the order of the paths decides.
    """
    by_target = {mount.target: mount.source for mount in mounts}
    found = list(disks)
    for target in ("/boot/efi", "/efi", "/boot", "/"):
        source = by_target.get(target, "")
        first = [disk.id for disk in found if disk.path and source.startswith(disk.path)]
        if len(first) == 1:
            return tuple(disk.id for disk in sorted(found, key=lambda each: (each.id != first[0], each.path)))
    return tuple(disk.id for disk in sorted(found, key=lambda each: each.path))
