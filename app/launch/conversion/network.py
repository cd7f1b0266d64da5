"""Network cards keep their names, by their MAC addresses; and where the guest configures them."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from app.launch.conversion.facts import SourceNic

RULES: Final = "/etc/udev/rules.d/70-persistent-net.rules"
LINKS: Final = "/etc/systemd/network"
_VIRTUAL: Final = re.compile(
    r"(lo|docker|veth|br|virbr|cni|flannel|cali|tun|tap|wg|kube|dummy|vnet|bond|team|vlan)"
)
_UNNAMED: Final = re.compile(r"\bnet\.ifnames=0\b")
NETWORKD: Final = tuple(
    f"{place}/systemd/network" for place in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
"""Where systemd-networkd looks, the first one first."""
_DROP_IN: Final = re.compile(rf"({'|'.join(NETWORKD)})/[^/]+\.network\.d/[^/]+\.conf")
CONFIGURATION: Final = (
    "/etc/network/interfaces",
    "/etc/network/interfaces.d/*",
    "/etc/netplan/*.yaml",
    "/etc/NetworkManager/system-connections/*",
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/sysconfig/network-scripts/route-*",
    "/etc/sysconfig/network/ifcfg-*",
    "/etc/sysconfig/network/ifroute-*",
    "/etc/systemd/network/*.network",
    *(f"{folder}/*.network.d/*.conf" for folder in NETWORKD),
)
"""ifupdown, netplan, NetworkManager, Red Hat's and SUSE's scripts, systemd-networkd."""
_FOLDERS: Final = tuple(pattern.rpartition("/")[0] for pattern in CONFIGURATION[1:])


def is_configuration(path: str) -> bool:
    """Whether it is a file of the network's configuration."""
    return (
        path == CONFIGURATION[0]
        or (path.rpartition("/")[0] in _FOLDERS and not path.endswith((".link", ".netdev")))
        or _DROP_IN.fullmatch(path) is not None
    )


def real_cards(nics: Iterable[SourceNic]) -> list[SourceNic]:
    """The cards without those of containers, bridges, tunnels and the like."""
    return [nic for nic in nics if nic.mac and not _VIRTUAL.match(nic.name)]


def to_pin(nics: Iterable[SourceNic], files: Mapping[str, str], command_line: str) -> list[SourceNic]:
    """The cards whose names the configuration relies on, and nothing keeps yet."""
    found = real_cards(nics)
    shared = set(shared_addresses(found))
    real = [nic for nic in found if nic.mac not in shared]
    if len(real) == 1 and real[0].name == "eth0" and _UNNAMED.search(command_line):
        return []
    return [nic for nic in real if _is_named(nic, files) and not _is_kept(nic, files)]


def shared_addresses(nics: Iterable[SourceNic]) -> list[str]:
    """MAC addresses of several real cards, as those of a bond have them: they tell no card from another."""
    macs = [nic.mac for nic in real_cards(nics)]
    return [mac for mac in dict.fromkeys(macs) if macs.count(mac) > 1]


def _is_named(nic: SourceNic, files: Mapping[str, str]) -> bool:
    word = re.compile(rf"(?<![\w.]){re.escape(nic.name)}(?!\w)")
    return any(
        word.search(text) or path.endswith(f"-{nic.name}")
        for path, text in files.items()
        if is_configuration(path)
    )


def _is_kept(nic: SourceNic, files: Mapping[str, str]) -> bool:
    keepers = (text for path, text in files.items() if path == RULES or path.endswith(".link"))
    return any(nic.mac in text.lower() and nic.name in text for text in keepers)


def link_file(nic: SourceNic) -> tuple[str, str]:
    """Path and text of a .link file (systemd.link(5)); not for bonds and VLANs, which share the address."""
    text = (
        f"# Made by go2cloud: the card keeps the name that it had on the source.\n"
        f"[Match]\nMACAddress={nic.mac}\nType=ether\n\n[Link]\nName={nic.name}\n"
    )
    return f"{LINKS}/05-go2cloud-{nic.name}.link", text


def rule(nic: SourceNic) -> str:
    """The line of an udev that reads no .link files."""
    return (
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{nic.mac}", '
        f'ATTR{{type}}=="1", NAME="{nic.name}"\n'
    )
