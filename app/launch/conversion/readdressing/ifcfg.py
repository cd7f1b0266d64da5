"""Red Hat's scripts: /etc/sysconfig/network-scripts/ifcfg-* (sysconfig.txt, nm-settings-ifcfg-rh(5)).

SUSE's files of the same names are wicked's, and are not changed: the card is refused.
"""

import ipaddress
import re
import shlex
from collections.abc import Mapping
from typing import Final

from app.launch.conversion.facts import CardAddressing
from app.launch.conversion.readdressing.outcome import Outcome, is_part_of, stays

FOLDER: Final = "/etc/sysconfig/network-scripts/"
SUSE: Final = "/etc/sysconfig/network/ifcfg-"
_ADDRESSING: Final = re.compile(
    r"(BOOTPROTO|BROADCAST|NETWORK|(IPADDR|PREFIX|NETMASK|GATEWAY)\d*|DNS\d+|"
    r"IPV6ADDR|IPV6ADDR_SECONDARIES|IPV6_DEFAULTGW)"
)
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_MASTERS: Final = ("MASTER", "BRIDGE", "TEAM_MASTER")


def rewritten(files: Mapping[str, str], card: CardAddressing) -> Outcome:
    """The card's files with its new addresses; those of its aliases (ifcfg-ens192:0) go away."""
    if f"{SUSE}{card.name}" in files:
        return Outcome(
            refusal=f"{SUSE}{card.name} is of wicked, which is given no other addresses: keep them, and "
            "change them on the launched machine"
        )
    found: dict[str, str | None] = {}
    for path in sorted(path for path in files if path.startswith(f"{FOLDER}ifcfg-")):
        values = _values(files[path])
        device = values.get("DEVICE", "")
        if device.startswith(f"{card.name}:") or path.startswith(f"{FOLDER}ifcfg-{card.name}:"):
            found[path] = None
        elif device == card.name or (not device and values.get("HWADDR", "").lower() == card.mac):
            whole = next((values[key] for key in _MASTERS if values.get(key)), "")
            if whole:
                return is_part_of(card.name, whole, path)
            found[path] = _readdressed(files[path], card)
    if not any(text is not None for text in found.values()):
        return Outcome()
    routes = [path for path in (f"{FOLDER}route-{card.name}", f"{FOLDER}route6-{card.name}") if path in files]
    return Outcome(found, stays(", ".join(routes), ["its routes"]) if routes else ())


def _values(text: str) -> dict[str, str]:
    """The variables, without their quotes; what is no plain assignment is none."""
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            try:
                words = shlex.split(match[2], comments=True)
            except ValueError:
                continue
            found[match[1]] = words[0] if words else ""
    return found


def _readdressed(text: str, card: CardAddressing) -> str:
    drops = {"IPV6INIT"} if card.of_family(6).addresses else set()
    kept = "".join(
        line
        for line in text.splitlines(keepends=True)
        if not ((match := _LINE.fullmatch(line)) and (_ADDRESSING.fullmatch(match[1]) or match[1] in drops))
    )
    end = "" if not kept or kept.endswith("\n") else "\n"
    return kept + end + "".join(f"{line}\n" for line in _lines(card))


def _lines(card: CardAddressing) -> list[str]:
    if not card.is_static:
        return ["BOOTPROTO=dhcp"]
    four, six = card.of_family(4), card.of_family(6)
    lines = ["BOOTPROTO=none"]
    for number, each in enumerate(four.addresses):
        interface = ipaddress.ip_interface(each)
        suffix = str(number) if number else ""
        lines += [f"IPADDR{suffix}={interface.ip}", f"PREFIX{suffix}={interface.network.prefixlen}"]
    if four.gateway:
        lines.append(f"GATEWAY={four.gateway}")
    if six.addresses:
        lines += ["IPV6INIT=yes", f"IPV6ADDR={six.addresses[0]}"]
    if six.addresses[1:]:
        lines.append(f'IPV6ADDR_SECONDARIES="{" ".join(six.addresses[1:])}"')
    if six.gateway:
        lines.append(f"IPV6_DEFAULTGW={six.gateway}")
    return [*lines, *(f"DNS{number}={each}" for number, each in enumerate(card.dns, 1))]
