"""Network interfaces: /sys/class/net, IPv4 addresses by ioctl, IPv6 from /proc/net/if_inet6."""

import fcntl
import ipaddress
import socket
import struct
from array import array
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Inventory, Nic

_SIOCGIFCONF: Final = 0x8912
_SIOCGIFNETMASK: Final = 0x891B
_REQUEST_BYTES: Final = 40
_MOST_ADDRESSES: Final = 1024
_ADDRESS_AT: Final = 20
"""Where the four bytes of an IPv4 address stand in a request: name 16, family 2, port 2."""

_NET: Final = Path("/sys/class/net")


def collect_nics(found: Inventory) -> Inventory:
    """Fill in nics; the loopback interface is left out."""
    addresses = _addresses()
    nics = tuple(
        _nic(entry, tuple(addresses[entry.name])) for entry in sorted(_NET.iterdir()) if entry.name != "lo"
    )
    return replace(found, nics=nics)


def _nic(entry: Path, addresses: tuple[str, ...]) -> Nic:
    return Nic(
        name=entry.name,
        mac=_text(entry / "address"),
        addresses=addresses,
        mtu=int(_text(entry / "mtu") or "0"),
        state=_text(entry / "operstate"),
    )


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _addresses() -> dict[str, list[str]]:
    """Addresses with prefix length by interface."""
    found: dict[str, list[str]] = defaultdict(list)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for request in _ipv4_requests(sock):
            name = request[:16].split(b"\0")[0].decode().split(":")[0]
            mask = fcntl.ioctl(sock.fileno(), _SIOCGIFNETMASK, request)[_ADDRESS_AT : _ADDRESS_AT + 4]
            address = request[_ADDRESS_AT : _ADDRESS_AT + 4]
            found[name].append(f"{ipaddress.IPv4Address(address)}/{_prefix(mask)}")
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else ():
        raw, _, prefix, _, _, name = line.split()
        found[name].append(f"{ipaddress.IPv6Address(bytes.fromhex(raw))}/{int(prefix, 16)}")
    return found


def _ipv4_requests(sock: socket.socket) -> list[bytes]:
    """One struct ifreq for each IPv4 address of the host."""
    room = array("B", bytes(_REQUEST_BYTES * _MOST_ADDRESSES))
    place, length = room.buffer_info()
    answer = fcntl.ioctl(sock.fileno(), _SIOCGIFCONF, struct.pack("iL", length, place))
    (filled,) = struct.unpack_from("i", answer)
    raw = room.tobytes()[:filled]
    return [raw[at : at + _REQUEST_BYTES] for at in range(0, filled, _REQUEST_BYTES)]


def _prefix(mask: bytes) -> int:
    return int.from_bytes(mask, "big").bit_count()
