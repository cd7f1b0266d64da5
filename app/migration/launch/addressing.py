"""Other addresses for the network cards of a source: whether they can be, and the machine that has them."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

from app.contract.guestwords import AddressingMode, CloudInitMode
from app.contract.resources.addressing import NicAddressing
from app.contract.resources.launch import LaunchNic, LaunchSettingsUpdate
from app.contract.words import ConversionMode
from app.launch.machine import LEAST_ADDRESSES
from app.migration.launch.errors import AddressingWrong, CloudInitWrong
from app.wire import messages

_NO_CARD: Final = re.compile(r"lo$|docker|veth|virbr|cni|flannel|cali|tun|tap|wg|kube")


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def mac(self) -> str: ...


N = TypeVar("N", bound=_Named)


def find_nic(ref: str, nics: Sequence[N]) -> N:
    """The source's network card of this name or MAC address. Raises AddressingWrong where it is not one."""
    named = [nic for nic in nics if nic.name == ref and nic.mac and not _NO_CARD.match(nic.name)]
    found = named or [nic for nic in nics if nic.mac.lower() == ref.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(nic.name for nic in found)
        raise AddressingWrong(
            f"several network cards of the source have the MAC address {ref}: {names}",
            remedy="name the one that has the addresses by its name",
        )
    known = ", ".join(f"{nic.name} ({nic.mac})" for nic in nics if nic.mac) or "none"
    raise AddressingWrong(
        f"the source has no network card {ref!r} that can have addresses",
        remedy=f"name one of those that its agent reported: {known}",
    )


def require_addressing(settings: LaunchSettingsUpdate, inventory: messages.Inventory) -> None:
    """Raises AddressingWrong, CloudInitWrong for what no guest could have."""
    found = [find_nic(each.nic, inventory.nics).name for each in settings.addressing]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise AddressingWrong(
            f"the network card {twice} is given addresses twice", remedy="give it all of them at once"
        )
    for each in settings.addressing:
        _require_possible(each)
    _require_distinct(settings.addressing)
    _require_conversion(settings)


def _require_conversion(settings: LaunchSettingsUpdate) -> None:
    if settings.conversion is not ConversionMode.OFF:
        return
    remedy = "switch the conversion on: --conversion auto"
    if any(each.mode is not AddressingMode.KEEP for each in settings.addressing):
        raise AddressingWrong("other addresses need the conversion, and it is off", remedy=remedy)
    if settings.cloud_init is not None and settings.cloud_init.mode is not CloudInitMode.KEEP:
        raise CloudInitWrong("changing cloud-init needs the conversion, and it is off", remedy=remedy)


def _require_possible(wanted: NicAddressing) -> None:
    if wanted.mode is not AddressingMode.STATIC:
        if wanted.addresses or wanted.gateways or wanted.dns:
            raise AddressingWrong(
                f"network card {wanted.nic}: {wanted.mode} has no addresses, gateways or name servers",
                remedy="leave them out, or take the mode static",
            )
        return
    if not wanted.addresses:
        raise AddressingWrong(
            f"network card {wanted.nic}: static has no address", remedy="write one such as 10.0.0.5/24"
        )
    for text in wanted.addresses:
        _require_host(wanted.nic, text)
    _require_gateways(wanted)
    families = {ipaddress.ip_interface(each).version for each in wanted.addresses}
    for server in wanted.dns:
        if ipaddress.ip_address(server).version not in families:
            raise AddressingWrong(
                f"network card {wanted.nic}: it cannot reach the name server {server}",
                remedy="give the card an address of the same version of IP",
            )


def _require_host(nic: str, text: str) -> None:
    """Raises AddressingWrong for what is no host's address: a network's, a broadcast, multicast."""
    found = ipaddress.ip_interface(text)
    is_edge = found.version == 4 and found.network.prefixlen < 31
    edges = (found.network.network_address, found.network.broadcast_address) if is_edge else ()
    if found.ip in edges or found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
        raise AddressingWrong(
            f"network card {nic}: {text} is no address that a host can have",
            remedy=f"take one within {found.network}, neither its first nor its last",
        )


def _require_gateways(wanted: NicAddressing) -> None:
    networks = [ipaddress.ip_interface(each).network for each in wanted.addresses]
    own = {ipaddress.ip_interface(each).ip for each in wanted.addresses}
    seen = set()
    for text in wanted.gateways:
        gateway = ipaddress.ip_address(text)
        if gateway.version in seen:
            raise AddressingWrong(
                f"network card {wanted.nic} has two gateways of IPv{gateway.version}", remedy="choose one"
            )
        seen.add(gateway.version)
        is_near = gateway.is_link_local or any(gateway in network for network in networks)
        if gateway in own or not is_near:
            where = " or ".join(str(each) for each in networks)
            raise AddressingWrong(
                f"network card {wanted.nic}: the gateway {gateway} is not another host of {where}",
                remedy="correct the gateway, or the prefix length of the address",
            )


def _require_distinct(addressing: Iterable[NicAddressing]) -> None:
    seen = set()
    gateways = set()
    for each in addressing:
        for text in each.addresses:
            address = ipaddress.ip_interface(text).ip
            if address in seen:
                raise AddressingWrong(f"{address} is given twice", remedy="give each address once")
            seen.add(address)
        for text in each.gateways:
            version = ipaddress.ip_address(text).version
            if version in gateways:
                raise AddressingWrong(
                    f"two network cards have a gateway of IPv{version}: which one is the way out is open",
                    remedy="give a gateway to the card that leads out",
                )
            gateways.add(version)


def readdressed(
    nics: tuple[LaunchNic, ...], addressing: Iterable[NicAddressing], inventory: messages.Inventory
) -> tuple[LaunchNic, ...]:
    """The machine's cards with the addresses that the guest will have for itself.

    A card that the source has no more stays as it is: its conversion fails and says so.
    """
    wanted = {
        nic.mac.lower(): each
        for each in addressing
        for nic in inventory.nics
        if (each.nic == nic.name or each.nic.lower() == nic.mac.lower())
        and each.mode is not AddressingMode.KEEP
    }
    return tuple(_nic(nic, wanted[nic.mac]) if nic.mac in wanted else nic for nic in nics)


def _nic(nic: LaunchNic, wanted: NicAddressing) -> LaunchNic:
    """The isolated network is the first one of IPv4 that has room for its own addresses."""
    found = [ipaddress.ip_interface(each) for each in wanted.addresses]
    usable = [each for each in found if each.version == 4 and each.network.num_addresses >= LEAST_ADDRESSES]
    if not usable:
        return LaunchNic(mac=nic.mac)
    gateway = next((each for each in wanted.gateways if ipaddress.ip_address(each).version == 4), None)
    return LaunchNic(mac=nic.mac, address=str(usable[0]), gateway=gateway)
