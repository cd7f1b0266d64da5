"""NetworkManager's keyfiles: /etc/NetworkManager/system-connections (nm-settings-keyfile(5))."""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from app.launch.conversion.changes import Privacy
from app.launch.conversion.facts import CardAddressing, SourceNic
from app.launch.conversion.network import real_cards
from app.launch.conversion.readdressing.inifile import Section, named, parsed, put, text_of
from app.launch.conversion.readdressing.outcome import MADE, Outcome, is_part_of, stays

FOLDER: Final = "/etc/NetworkManager/system-connections/"
_WIRED: Final = frozenset(("ethernet", "802-3-ethernet"))
_ADDRESSING: Final = re.compile(r"method|gateway|dns|address(es)?\d*")
_ROUTE: Final = re.compile(r"routes?\d*")
_DEFAULT: Final = re.compile(r"(0\.0\.0\.0|::)/0\b")
_SPACE: Final = uuid.UUID("6c2f6f2e-51a3-5b0e-9f57-7d2a4b1c9e10")
"""Of the ids of connections that are made here."""


def rewritten(files: Mapping[str, str], card: CardAddressing, nics: Iterable[SourceNic]) -> Outcome:
    """All connections of the card with its new addresses."""
    is_only = len(real_cards(nics)) == 1
    found: dict[str, str | None] = {}
    warnings: list[str] = []
    for path in sorted(path for path in files if path.startswith(FOLDER)):
        sections = parsed(files[path])
        if _is_of(sections, card, is_only=is_only):
            whole = _value(sections, ("connection",), "master", "controller")
            if whole:
                return is_part_of(card.name, whole, path)
            found[path], left = _readdressed(sections, card)
            warnings.extend(stays(path, left))
    return Outcome(found, tuple(warnings))


def _value(sections: list[Section], names: Iterable[str], *keys: str) -> str:
    return next((value for each in named(sections, *names) for value in each.values(*keys)), "")


def _is_of(sections: list[Section], card: CardAddressing, *, is_only: bool) -> bool:
    """By name or MAC address; a wired connection that names neither is of the only card there is."""
    name = _value(sections, ("connection",), "interface-name")
    mac = _value(sections, _WIRED, "mac-address").lower()
    if name or mac:
        return name in ("", card.name) and mac in ("", card.mac)
    is_wired = _value(sections, ("connection",), "type") in _WIRED
    return is_wired and is_only and not named(sections, "match")


def _readdressed(sections: list[Section], card: CardAddressing) -> tuple[str, list[str]]:
    """The file, and the routes that stay."""
    bare = [
        _without_defaults(section) if section.name in ("ipv4", "ipv6") else section for section in sections
    ]
    left = [
        line
        for section in named(bare, "ipv4", "ipv6")
        for line in section.lines
        if _ROUTE.fullmatch(line.partition("=")[0].strip())
    ]
    for name, version in (("ipv4", 4), ("ipv6", 6)):
        method = _method(card, version, _value(sections, (name,), "method"))
        lines = [f"method={method}", *_lines(card, version)] if method else []
        bare = put(bare, name, lines, lambda key: bool(_ADDRESSING.fullmatch(key)))
    return text_of(bare), left


def _method(card: CardAddressing, version: int, old: str) -> str:
    if card.of_family(version).addresses:
        return "manual"
    if version == 4:
        return "disabled" if card.is_static else "auto"
    return "auto" if old == "manual" else old


def _lines(card: CardAddressing, version: int) -> list[str]:
    wanted = card.of_family(version)
    gateway = f",{wanted.gateway}" if wanted.gateway else ""
    lines = [
        f"address{number}={each}{gateway if number == 1 else ''}"
        for number, each in enumerate(wanted.addresses, 1)
    ]
    return [*lines, f"dns={';'.join(wanted.dns)};"] if wanted.dns else lines


def _without_defaults(section: Section) -> Section:
    """Without routes that lead everywhere: `route1=0.0.0.0/0,10.1.2.1`."""
    kept = tuple(
        line
        for line in section.lines
        if not (
            _ROUTE.fullmatch(line.partition("=")[0].strip())
            and _DEFAULT.match(line.partition("=")[2].strip())
        )
    )
    return Section(section.name, section.head, kept)


def created(card: CardAddressing) -> Outcome:
    """A connection of the card's own, which goes before those that are of any card."""
    head = (
        f"{MADE}[connection]\nid=go2cloud-{card.name}\nuuid={uuid.uuid5(_SPACE, card.mac)}\n"
        f"type=ethernet\ninterface-name={card.name}\nautoconnect-priority=100\n"
    )
    text, _ = _readdressed(parsed(head), card)
    return Outcome({f"{FOLDER}go2cloud-{card.name}.nmconnection": text}, privacy=Privacy.ROOT)
