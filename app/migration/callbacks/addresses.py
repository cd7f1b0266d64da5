"""Which addresses go2cloud may be sent to by whoever subscribes (server-side request forgery).

A name is resolved once, and the address that was looked at is the one that is spoken to: a name that answers
otherwise the next time gains nothing. Forbidden are addresses of this host and of its link, those that are no
host's, and where clouds hand out a machine's credentials, also in the forms in which IPv6 carries IPv4.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from app.kit.callbackkeys import Network
from app.migration.callbacks.errors import AddressForbidden

Address: TypeAlias = IPv4Address | IPv6Address

FORBIDDEN: Final[tuple[Network, ...]] = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # the host agent of Azure
        "192.0.0.192/32",  # metadata of Oracle Cloud
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/127",
        "fe80::/10",
        "fd00:ec2::254/128",  # metadata of AWS
        "ff00::/8",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether it may be spoken to; what the settings allow always may."""
    forms = _forms(address)
    if any(form in network for form in forms for network in allowed):
        return True
    return not any(form in network for form in forms for network in FORBIDDEN)


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that it carries, if it is one of the ways to carry one."""
    if isinstance(address, IPv4Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64 or (inner is None and int(address) >> 32 == 0 and int(address) > 1):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,) if inner is None else (address, inner)


async def permitted(host: str, port: int, allowed: Sequence[Network] | None) -> tuple[str, ...]:
    """The addresses of a host that may be spoken to, in the resolver's order; `allowed` None: all may.

    Raises AddressForbidden where none may, OSError where the name has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    good = tuple(each for each in addresses if allowed is None or is_permitted(ip_address(each), allowed))
    if not good:
        raise AddressForbidden(f"{host} is {', '.join(addresses)}, where callbacks may not go")
    return good
