"""Routes of the main table, from /proc/net/route and /proc/net/ipv6_route."""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Inventory, Route

_UP: Final = 0x1
_REJECT: Final = 0x200
_MULTICAST_OR_LOCAL: Final = 0x80000000 | 0x01000000


def collect_routes(found: Inventory) -> Inventory:
    """Fill in routes."""
    tables = ((Path("/proc/net/route"), ipv4_routes), (Path("/proc/net/ipv6_route"), ipv6_routes))
    routes = [route for path, parse in tables if path.exists() for route in parse(path.read_text())]
    return replace(found, routes=tuple(routes))


def ipv4_routes(text: str) -> Iterator[Route]:
    """Parse /proc/net/route: addresses are hexadecimal in the host's byte order."""
    for line in text.splitlines()[1:]:
        interface, destination, gateway, flags, _, _, _, mask = line.split()[:8]
        if int(flags, 16) & _UP:
            prefix = int(mask, 16).bit_count()
            via = _ipv4(gateway)
            yield Route(f"{_ipv4(destination)}/{prefix}", "" if via == "0.0.0.0" else via, interface)  # noqa: S104


def _ipv4(text: str) -> str:
    return str(ipaddress.IPv4Address(bytes.fromhex(text)[::-1]))


def ipv6_routes(text: str) -> Iterator[Route]:
    """Parse /proc/net/ipv6_route; local, rejecting and loopback entries are left out."""
    for line in text.splitlines():
        destination, prefix, _, _, gateway, _, _, _, flags, interface = line.split()
        value = int(flags, 16)
        if not value & _UP or value & (_REJECT | _MULTICAST_OR_LOCAL) or interface == "lo":
            continue
        via = str(ipaddress.IPv6Address(bytes.fromhex(gateway)))
        to = ipaddress.IPv6Address(bytes.fromhex(destination))
        yield Route(f"{to}/{int(prefix, 16)}", "" if via == "::" else via, interface)
