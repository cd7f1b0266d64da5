"""The network of a machine: QEMU's user network, ports forwarded to 127.0.0.1.

With `restrict=on` the guest reaches nothing: not the node, not the net, no DNS; the node reaches what is
forwarded. That is left away for a cutover alone: then the guest goes out by the node's own address, and is
reached by the forwards. A guest with a static address gets its own range, and itself as the aim of the
forwards.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from app.contract.words import DiskBus, InstancePurpose
from app.launch.machine import Forward, MachineSpec, Nic

GUEST: Final = "10.0.2.15"
_ROW: Final = re.compile(r"^\s*TCP\[(\S+)\]\s+-?\d+\s+\S+\s+\S+\s+\S+\s+(\d+)\s", re.MULTILINE)
_ACCEPTED: Final = frozenset(
    ("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSING", "LAST_ACK", "TIME_WAIT")
)


def free_forwards(ports: Sequence[int]) -> tuple[Forward, ...]:
    """A free port of 127.0.0.1 for each of the guest's; somebody may take one before QEMU does."""
    with ExitStack() as stack:
        forwards = []
        for guest in ports:
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind(("127.0.0.1", 0))
            forwards.append(Forward(guest, int(probe.getsockname()[1])))
        return tuple(forwards)


def network_arguments(
    machine: MachineSpec,
    forwards: Sequence[Forward],
    purpose: InstancePurpose = InstancePurpose.TEST,
    first_slot: int | None = None,
) -> list[str]:
    """QEMU's arguments for the network cards; the ports lead to the first one.

    Without a slot QEMU chooses the cards' places, and so may take one that a later argument names.
    """
    arguments = []
    for number, nic in enumerate(machine.nics):
        leads = forwards if number == 0 else ()
        arguments += ["-netdev", _netdev(number, nic, leads, purpose)]
        model = "e1000e" if machine.bus is DiskBus.SATA else "virtio-net-pci"
        place = "" if first_slot is None else f",bus=pcie.0,addr={first_slot + number:#x}"
        arguments += ["-device", f"{model},netdev=net{number},mac={nic.mac},romfile={place}"]
    return arguments


def _netdev(number: int, nic: Nic, forwards: Sequence[Forward], purpose: InstancePurpose) -> str:
    restrict = "off" if purpose is InstancePurpose.CUTOVER else "on"
    options = [f"user,id=net{number},restrict={restrict},ipv6=off", *_range(nic)]
    address = GUEST if nic.address is None else str(ipaddress.IPv4Interface(nic.address).ip)
    options += [f"hostfwd=tcp:127.0.0.1:{forward.host}-{address}:{forward.guest}" for forward in forwards]
    return ",".join(options)


def _range(nic: Nic) -> list[str]:
    """The range of a guest with an address; the gateway's address answers as the host's would.

    A guest that asks DHCP gets the same address: whoever took it from the source need not know how it got it.
    """
    if nic.address is None:
        return []
    interface = ipaddress.IPv4Interface(nic.address)
    network, taken = interface.network, {interface.ip}
    wanted = ipaddress.IPv4Address(nic.gateway) if nic.gateway else None
    usable = wanted is not None and wanted in network and wanted not in taken
    host = wanted if wanted is not None and usable else _unused(network, taken)
    taken.add(host)
    dns = _unused(network, taken)
    return [f"net={network}", f"host={host}", f"dns={dns}", f"dhcpstart={interface.ip}"]


def _unused(network: ipaddress.IPv4Network, taken: set[ipaddress.IPv4Address]) -> ipaddress.IPv4Address:
    return next(each for each in network.hosts() if each not in taken)


def accepted_in(table: str, guest: int) -> bool:
    """Whether QEMU's table (`info usernet`) has a connection that the guest's port accepted.

    The forwarder's own row and one that waits for the guest's answer do not count; one that ended does.
    """
    return any(state in _ACCEPTED and int(port) == guest for state, port in _ROW.findall(table))
