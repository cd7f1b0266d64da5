"""Which addresses go2cloud may be sent to by whoever subscribes (server-side request forgery).

A name is resolved once, and the address that was looked at is the one that is spoken to: a name that answers
otherwise the next time gains nothing. Forbidden are addresses of this host and of its link, those that are no
host's, and where clouds hand out a machine's credentials, also in the forms in which IPv6 carries IPv4.
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
        "fd00:ec2::/32",  # metadata, names and time of AWS
        "fd20:ce::/32",  # metadata of Google Cloud
        "fd00:42::42/128",  # metadata of Scaleway
        "ff00::/8",
    )
)
_LAST_32_BITS: Final = (
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215; its user chooses the length of the prefix
_LOOK_UPS_AT_ONCE: Final = 16
_POOL: Final = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, "callback-names")
"""Threads of their own: names that hang must not keep the loop's own threads from the store's check."""


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether it may be spoken to; what the settings allow always may."""
    if _is_in(address, allowed):
        return True
    forms = (address, *_carried(address))
    return all(_is_in(form, allowed) or not _is_in(form, FORBIDDEN) for form in forms)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that it may carry, if it is one of the ways to carry one."""
    if isinstance(address, IPv4Address):
        return
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        yield inner
    if int(address) > 1 and _is_in(address, _LAST_32_BITS):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:
        yield from _embedded(address.packed)


def _embedded(packed: bytes) -> Iterator[IPv4Address]:
    """What a translator reads by prefixes of 48, 56, 64 and 96 bits (RFC 6052, 2.2): octet 8 is passed over.

    A reading that begins with 0 is none: the address is written by a longer or shorter prefix.
    """
    readings = (packed[6:8] + packed[9:11], packed[7:8] + packed[9:12], packed[9:13], packed[12:16])
    for reading in readings:
        if reading[0]:
            yield IPv4Address(reading)


async def permitted(host: str, port: int, allowed: Sequence[Network] | None) -> tuple[str, ...]:
    """The addresses of a host that may be spoken to, in the resolver's order; `allowed` None: all may.

    Raises AddressForbidden where none may, OSError where the name has none.
    """
    loop = asyncio.get_running_loop()
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await loop.run_in_executor(_POOL, look_up)
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    good = tuple(each for each in addresses if allowed is None or is_permitted(ip_address(each), allowed))
    if not good:
        raise AddressForbidden(f"{host} is {', '.join(addresses)}, where callbacks may not go")
    return good
