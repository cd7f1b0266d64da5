"""ifupdown: /etc/network/interfaces and interfaces.d (interfaces(5), Debian)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.launch.conversion.facts import CardAddressing, Family
from app.launch.conversion.readdressing.outcome import MADE, Outcome, is_part_of, stays

INTERFACES: Final = "/etc/network/interfaces"
FOLDER: Final = "/etc/network/interfaces.d/"
_HEADS: Final = frozenset(
    ("iface", "mapping", "auto", "source", "source-dir", "source-directory", "rename", "no-auto-down")
) | {"no-scripts", "template"}
_ADDRESSING: Final = frozenset(
    (
        *("address", "netmask", "broadcast", "network", "gateway", "pointopoint"),
        *("dns-nameserver", "dns-nameservers", "dns_nameservers"),
    )
)
_COMMANDS: Final = frozenset(("up", "pre-up", "post-up", "down", "pre-down", "post-down"))
_ROUTING: Final = re.compile(r"(/\S*/)?(ip( -[46])? (a|r|ru)\w*|route|ifconfig) [\w./: -]*(\|\| true)?")
_PARTS: Final = frozenset(("bridge_ports", "bridge-ports", "bond-slaves", "bond_slaves", "slaves"))
_MASTERS: Final = frozenset(("bond-master", "bond_master"))
_NAMES: Final = {4: "inet", 6: "inet6"}


@dataclass(frozen=True)
class Stanza:
    """A line that begins something and the lines that belong to it; `head` is empty for what stands between.

    Lines are logical ones, with their ends: a backslash joins one with the next.
    """

    head: str
    body: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """Of the head."""
        return self.head.replace("\\\n", " ").split()

    @property
    def name(self) -> str:
        """The card that an `iface` is about."""
        return self.words[1] if self.words[:1] == ["iface"] and len(self.words) > 1 else ""

    @property
    def family(self) -> str:
        """inet or inet6."""
        return self.words[2] if len(self.words) > 2 else ""

    @property
    def method(self) -> str:
        """Such as static, dhcp, manual."""
        return self.words[3] if len(self.words) > 3 else ""

    @property
    def kept(self) -> tuple[str, ...]:
        """The lines that say nothing of addresses."""
        return tuple(line for line in self.body if _option(line) not in _ADDRESSING)

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return self.head + "".join(self.body)


def _option(line: str) -> str:
    return (line.split() or [""])[0]


def _logical(text: str) -> Iterator[str]:
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if not line.rstrip("\n").endswith("\\"):
            yield held
            held = ""
    if held:
        yield held


def parsed(text: str) -> list[Stanza]:
    """The stanzas of a file; their texts, put together, are the file."""
    found = [Stanza("")]
    for line in _logical(text):
        word = _option(line)
        if word in _HEADS or word.startswith("allow-"):
            found.append(Stanza(line))
        else:
            found[-1] = Stanza(found[-1].head, (*found[-1].body, line))
    return [part for stanza in found for part in _apart(stanza)]


def _apart(stanza: Stanza) -> Iterator[Stanza]:
    """Blank lines and comments at the end belong to what follows."""
    end = len(stanza.body)
    while end and (not stanza.body[end - 1].strip() or stanza.body[end - 1].lstrip().startswith("#")):
        end -= 1
    yield Stanza(stanza.head, stanza.body[:end])
    if stanza.body[end:]:
        yield Stanza("", stanza.body[end:])


def rewritten(files: Mapping[str, str], card: CardAddressing) -> Outcome:
    """The files with the card's new addresses in the place of its first stanza."""
    parts = {path: parsed(files[path]) for path in _paths(files)}
    everything = [(path, stanza) for path, stanzas in parts.items() for stanza in stanzas]
    mine = [(path, stanza) for path, stanza in everything if stanza.name == card.name]
    if not mine:
        return Outcome()
    for path, stanza in everything:
        whole = _whole(stanza, card.name)
        if whole:
            return is_part_of(card.name, whole, path)
        if (stanza.words[:1] == ["mapping"] and card.name in stanza.words) or _inherits(stanza, card.name):
            return Outcome(
                refusal=f"{path}: what {card.name} gets comes of a mapping or of `inherits`, which is not "
                "followed: write its addresses into its own stanza on the source"
            )
    new, left = _new([stanza for _, stanza in mine], card)
    first = mine[0][1]
    changed = {path: _replaced(stanzas, card.name, first, new) for path, stanzas in parts.items()}
    there = {path: text for path, text in changed.items() if text != files[path] or path == mine[0][0]}
    return Outcome(there, stays(mine[0][0], left))


def _paths(files: Mapping[str, str]) -> list[str]:
    return sorted(path for path in files if path == INTERFACES or path.startswith(FOLDER))


def _whole(stanza: Stanza, name: str) -> str:
    """The bond or bridge of which the card is a part by this stanza."""
    for line in stanza.body:
        words = line.replace("\\\n", " ").split()
        if words and words[0] in _PARTS and name in words[1:] and stanza.name != name:
            return stanza.name
        if len(words) > 1 and words[0] in _MASTERS and stanza.name == name and words[1] != "none":
            return words[1]
    return ""


def _inherits(stanza: Stanza, name: str) -> bool:
    return stanza.name == name and "inherits" in stanza.words


def _new(mine: list[Stanza], card: CardAddressing) -> tuple[str, list[str]]:
    """The card's stanzas, and lines that stay or go although they are no addresses."""
    text = ""
    left: list[str] = []
    for version, family in _NAMES.items():
        old = [stanza for stanza in mine if stanza.family == family]
        kept = old[0].kept if old else ()
        wanted = card.of_family(version)
        made = _family(card, family, wanted, old, kept)
        text += made
        left.extend(_told(line) for line in kept if _option(line) in _COMMANDS or not made)
    return text, left


def _told(line: str) -> str:
    """A line as a warning tells it: what sets routes whole; how others begin, since they may hold keys."""
    words = line.replace("\\\n", " ").split()
    if words[:1] and words[0] in _COMMANDS:
        is_route = bool(_ROUTING.fullmatch(" ".join(words[1:])))
        return " ".join(words) if is_route else " ".join([*words[:2], "…"][: len(words)])
    return " ".join(words[:1])


def _family(
    card: CardAddressing, family: str, wanted: Family, old: list[Stanza], kept: tuple[str, ...]
) -> str:
    if wanted.addresses:
        return _static(card.name, family, wanted, kept)
    if family == "inet6":
        stanza = next((each for each in old if each.method != "static"), None)
        return _ended(stanza.text) if stanza else ""
    if not card.is_static:
        return f"iface {card.name} inet dhcp\n" + _ended("".join(kept))
    return f"iface {card.name} inet manual\n" + _ended("".join(kept)) if kept else ""


def _static(name: str, family: str, wanted: Family, kept: Iterable[str]) -> str:
    """A stanza for each address; the first one has the rest."""
    head = f"iface {name} {family} static\n    address "
    first, *others = wanted.addresses
    text = f"{head}{first}\n"
    if wanted.gateway:
        text += f"    gateway {wanted.gateway}\n"
    if wanted.dns:
        text += f"    dns-nameservers {' '.join(wanted.dns)}\n"
    return text + _ended("".join(kept)) + "".join(f"{head}{each}\n" for each in others)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _replaced(stanzas: list[Stanza], name: str, first: Stanza, new: str) -> str:
    """A file with the new stanzas where the first one is, without the others and the card's aliases."""
    text = ""
    for stanza in stanzas:
        if stanza is first:
            text += new
        elif stanza.name != name and not stanza.name.startswith(f"{name}:"):
            text += _without_aliases(stanza, name)
    return text


def _without_aliases(stanza: Stanza, name: str) -> str:
    """`auto ens192 ens192:0` without what is no stanza any more."""
    words = stanza.words
    rest = [word for word in words if not word.startswith(f"{name}:")]
    if rest == words or not (words[0] == "auto" or words[0].startswith("allow-")):
        return stanza.text
    return "".join((" ".join(rest) + "\n" if len(rest) > 1 else "", *stanza.body))


def created(files: Mapping[str, str], card: CardAddressing) -> Outcome:
    """The card made known in /etc/network/interfaces."""
    text = _ended(files[INTERFACES])
    new, _ = _new([], card)
    return Outcome({INTERFACES: f"{text}\n{MADE}auto {card.name}\n{new}"})
