"""systemd-networkd: /etc/systemd/network/*.network (systemd.network(5)); the first that matches counts.

Its drop-ins (`10-lan.network.d/*.conf`) are read after it; their addresses would come beside the new ones.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from app.launch.conversion.facts import CardAddressing, SourceNic
from app.launch.conversion.network import NETWORKD
from app.launch.conversion.readdressing.inifile import Section, named, parsed, put, text_of
from app.launch.conversion.readdressing.outcome import MADE, Outcome, is_part_of, stays

FOLDER: Final = "/etc/systemd/network/"
_ADDRESSING: Final = frozenset(("Address", "Gateway", "DNS", "DHCP"))
_DEFAULTS: Final = frozenset(("", "0.0.0.0/0", "::/0"))


def _paths(files: Mapping[str, str]) -> list[str]:
    return sorted(path for path in files if path.startswith(FOLDER) and path.endswith(".network"))


def has_any(files: Mapping[str, str]) -> bool:
    """Whether the guest configures anything in this way."""
    return bool(_paths(files))


def rewritten(files: Mapping[str, str], card: CardAddressing, nics: Iterable[SourceNic]) -> Outcome:
    """The first file that is the card's with its new addresses.

    A file that is also of other cards stays, and the card gets one of its own before it.
    """
    me = SourceNic(card.name, card.mac)
    others = [nic for nic in nics if nic.name != card.name]
    for path in _paths(files):
        own = parsed(files[path], joined=True)
        added = drop_ins(files, path.removeprefix(FOLDER))
        sections = [*own, *(section for each in added.values() for section in each)]
        if _matches(sections, me):
            whole = next(
                (word for each in named(sections, "Network") for word in each.values("Bond", "Bridge")), ""
            )
            if whole:
                return is_part_of(card.name, whole, path)
            if any(_matches(sections, nic) for nic in others):
                return _own_file(path, sections, card)
            text, left = _readdressed(own, card)
            kept = [line for each in added.values() for line in _routes(each)]
            return overriding(added, card) or Outcome({path: text}, stays(path, [*left, *kept]))
    return Outcome()


def drop_ins(files: Mapping[str, str], name: str) -> dict[str, list[Section]]:
    """The drop-ins of the .network file of this name: of those of one name, that of the first folder."""
    found: dict[str, str] = {}
    for folder in NETWORKD:
        head = f"{folder}/{name}.d/"
        for path in files:
            if path.startswith(head) and path.endswith(".conf"):
                found.setdefault(path.removeprefix(head), path)
    return {path: parsed(files[path], joined=True) for _, path in sorted(found.items())}


def overriding(added: Mapping[str, list[Section]], card: CardAddressing) -> Outcome | None:
    """The refusal of a card to which one of these drop-ins gives addresses."""
    for path, sections in added.items():
        if any(
            section.name == "Address"
            or _is_default(section)
            or (section.name == "Network" and section.values(*_ADDRESSING))
            for section in sections
        ):
            return Outcome(
                refusal=f"{path} gives {card.name} addresses beside those that were asked for: move its "
                "addresses, gateways, name servers and DHCP on the source into the file that it belongs to"
            )
    return None


def _matches(sections: list[Section], nic: SourceNic) -> bool:
    """Whether a file is this card's, as far as its name and its MAC address tell."""
    match = named(sections, "Match")
    names = [word for each in match for value in each.values("Name") for word in value.split()]
    macs = [
        word.lower().replace("-", ":")
        for each in match
        for value in each.values("MACAddress", "PermanentMACAddress")
        for word in value.split()
    ]
    kinds = [word for each in match for value in each.values("Type") for word in value.split()]
    fits = [any(fnmatchcase(nic.name, name) for name in names)] if names else []
    if macs:
        fits.append(nic.mac in macs)
    if kinds:
        fits.append("ether" in kinds and nic.name != "lo")
    return bool(fits) and all(fits)


def _own_file(path: str, sections: list[Section], card: CardAddressing) -> Outcome:
    own = _own_path(card)
    if own >= path:
        return Outcome(
            refusal=f"{path} is of several network cards and is read before all others: give it a name that "
            f"begins with 10- on the source, so that {card.name} can have a file of its own"
        )
    rest = [section for section in sections if section.name not in ("", "Match")]
    text, left = _readdressed(parsed(_head(card) + text_of(rest)), card)
    return Outcome({own: text}, stays(own, left))


def _own_path(card: CardAddressing) -> str:
    return f"{FOLDER}05-go2cloud-{card.name}.network"


def _head(card: CardAddressing) -> str:
    return f"{MADE}[Match]\nName={card.name}\n\n"


def _readdressed(sections: list[Section], card: CardAddressing) -> tuple[str, list[str]]:
    """The file, and what of it may still speak of the source's network."""
    kept = [section for section in sections if section.name != "Address" and not _is_default(section)]
    return text_of(put(kept, "Network", _lines(card), _ADDRESSING.__contains__)), _routes(kept)


def _routes(sections: list[Section]) -> list[str]:
    """What may still speak of the source's network."""
    found = (line for section in named(sections, "Route") for line in section.values("Destination"))
    return [f"route to {each}" for each in found]


def _is_default(section: Section) -> bool:
    """Whether it is a route that leads everywhere."""
    if section.name != "Route" or not section.values("Gateway"):
        return False
    return set(section.values("Destination") or [""]) <= _DEFAULTS


def _lines(card: CardAddressing) -> list[str]:
    if not card.is_static:
        return ["DHCP=yes"]
    return [
        *(f"Address={each}" for each in card.addresses),
        *(f"Gateway={each}" for each in card.gateways),
        *(f"DNS={each}" for each in card.dns),
    ]


def created(card: CardAddressing) -> Outcome:
    """A file of the card's own."""
    text, _ = _readdressed(parsed(_head(card) + "[Network]\n"), card)
    return Outcome({_own_path(card): text})
