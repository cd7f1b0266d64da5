"""Which lines of the network's configuration a report shows: those of addresses, and no others.

These files may hold the passwords of wireless networks and of 802.1X, in any form and over several lines;
most are read by root alone, and reports by whoever may see the server. So what is not known to be an address
is not shown, rather than what is known to be a password.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

_KEYS: Final = re.compile(
    r"(address(es)?|netmask|broadcast|network|gateway|pointopoint|dns|dns[-_]nameservers?|dhcp|method|"
    r"bootproto|ipaddr|prefix|ipv6init|ipv6addr|ipv6addr_secondaries|ipv6_defaultgw|destination|"
    r"version|ethernets|bonds|bridges|vlans|routes?|nameservers|to|via)\d*",
    re.IGNORECASE,
)
_NAMING: Final = frozenset(("iface", "auto", "allow-hotplug", "interface-name", "name", "device"))
_NAME: Final = re.compile(r"[\w.:@-]{1,15}")
"""Of a network card (IFNAMSIZ)."""
_WORDS: Final = frozenset(
    ("yes", "no", "true", "false", "dhcp", "static", "none", "auto", "manual", "disabled", "ipv4", "ipv6")
) | {"inet", "inet6", "default", "link-local", "ignore"}
_HEAD: Final = re.compile(r"\[(Match|Network|Address|Route|connection|ethernet|ipv4|ipv6)\]")
_LINE: Final = re.compile(r"([A-Za-z][\w-]*)\s*(?:[:=\s]\s*(.*))?")
_BETWEEN: Final = re.compile(r"[\s,;\[\]{}\"']+")
_MADE: Final = "# Made by go2cloud"


def shown(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a difference ('-…', '+…') that are of addresses; of others how many there are."""
    for (sign, is_shown), group in groupby(lines, lambda line: (line[:1], _is_shown(line[1:].strip()))):
        if is_shown:
            yield from group
        else:
            yield f"{sign}{len(list(group))} lines, not shown"


def _is_shown(text: str) -> bool:
    text = text.removeprefix("- ")
    if not text or text.startswith(_MADE) or _HEAD.fullmatch(text) or _are_addresses(text):
        return True
    line = _LINE.fullmatch(text)
    if line is None:
        return False
    key, words = line[1], [word for word in _BETWEEN.split(line[2] or "") if word]
    if key.lower() in _NAMING:
        return bool(words) and bool(_NAME.fullmatch(words[0])) and _are_addresses(" ".join(words[1:]))
    return bool(_KEYS.fullmatch(key)) and _are_addresses(" ".join(words))


def _are_addresses(text: str) -> bool:
    """Whether it is addresses, numbers of three digits, and words that go with them."""
    return all(_is_address(word) for word in _BETWEEN.split(text) if word)


def _is_address(word: str) -> bool:
    bare = word.removesuffix(":")
    if bare.lower() in _WORDS or (bare != word and _KEYS.fullmatch(bare)):
        return True
    if word.isascii() and word.isdigit():
        return len(word) <= 3
    try:
        ipaddress.ip_interface(word)
    except ValueError:
        return False
    return True
