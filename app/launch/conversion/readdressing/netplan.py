"""netplan: /etc/netplan/*.yaml (netplan-yaml(5)); what stands in several files is merged, lists are joined.

Scalars are read and written as the text that they are: netplan does so, and YAML 1.1 would take the MAC
address 52:54:00:12:34:56 for a number.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

import yaml
from yaml.emitter import Emitter
from yaml.representer import SafeRepresenter
from yaml.resolver import BaseResolver
from yaml.serializer import Serializer

from app.launch.conversion.changes import Privacy
from app.launch.conversion.facts import CardAddressing, SourceNic
from app.launch.conversion.network import real_cards
from app.launch.conversion.readdressing import networkd
from app.launch.conversion.readdressing.outcome import MADE, Outcome, is_part_of, stays

FOLDER: Final = "/etc/netplan/"
_RENDERED: Final = "10-netplan-"
"""Begins the names of what netplan makes for systemd-networkd at each boot; drop-ins lie on the disk."""
_KINDS: Final = ("ethernets", "bonds", "bridges", "vlans")
_ADDRESSING: Final = frozenset(("addresses", "dhcp4", "dhcp6", "gateway4", "gateway6"))
_DEFAULTS: Final = frozenset(("default", "0.0.0.0/0", "::/0", "0/0"))
_QUOTED: Final = re.compile(r"(['\"])(?!<)..+\1")
"""Words of the file in what its reader says of it; not names of what was expected, such as '<scalar>'."""
_PLAIN: Final = "tag:yaml.org,2002:str"

Tree: TypeAlias = Any
"""A document as it was read: mappings, lists and texts."""


class _PlainDumper(Emitter, Serializer, SafeRepresenter, BaseResolver):
    """Writes texts without quotes wherever they can be read again without them."""

    def __init__(self, stream: Any, **_settings: Any) -> None:
        Emitter.__init__(self, stream, width=10**6, allow_unicode=True)
        Serializer.__init__(self)
        SafeRepresenter.__init__(self, default_flow_style=False, sort_keys=False)
        BaseResolver.__init__(self)


@dataclass(frozen=True)
class _Place:
    """Where a card stands in a file."""

    path: str
    kind: str
    name: str


class _Unreadable(ValueError):
    """A file that is no netplan, and why."""


def has_any(files: Mapping[str, str]) -> bool:
    """Whether the guest configures anything in this way."""
    return bool(_paths(files))


def _paths(files: Mapping[str, str]) -> list[str]:
    return sorted(path for path in files if path.startswith(FOLDER) and path.endswith(".yaml"))


def rewritten(files: Mapping[str, str], card: CardAddressing, nics: Iterable[SourceNic]) -> Outcome:
    """The files with the card's new addresses in the last one that has it, and none in the others."""
    try:
        trees = {path: _read(path, files[path]) for path in _paths(files)}
        refusal = _refusal(trees, card, nics)
        if refusal is not None:
            return refusal
        places = [place for place, body in _cards(trees) if _is_of(place, body, card)]
        added = {
            path: sections
            for place in places
            for path, sections in networkd.drop_ins(files, f"{_RENDERED}{place.name}.network").items()
        }
        overridden = networkd.overriding(added, card)
        if overridden is not None:
            return overridden
        found, left = {}, []
        for place in places:
            mine = [each for each in places if each.path == place.path]
            new, routes = _changed(trees, mine, card, is_last=place.path == places[-1].path)
            found[place.path] = _written(files[place.path], trees[place.path], new, mine)
            left.extend(routes)
    except _Unreadable as error:
        return Outcome(refusal=str(error))
    except RecursionError:
        return Outcome(refusal=f"what is below {FOLDER} is nested too deeply for a netplan")
    return Outcome(found, stays(places[-1].path, left) if places else ())


def _read(path: str, text: str) -> Tree:
    try:
        has_aliases = _has_aliases(text)
        tree = {} if has_aliases else _loaded(text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise _Unreadable(f"{path} cannot be read as netplan: {_problem(error)}") from error
    if has_aliases:
        raise _Unreadable(f"{path} has aliases of YAML (`*name`), which are not followed: write them out")
    if not _is_netplan(tree):
        raise _Unreadable(f"{path} is no netplan: cards do not stand where they should")
    return tree


def _problem(error: yaml.YAMLError | RecursionError) -> str:
    """What is wrong and in which line, without a word of the file: its passwords are not for reports."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it is no text of YAML"
    problem = _QUOTED.sub("…", error.problem or "it is no YAML")
    return f"line {error.problem_mark.line + 1}: {problem}"


def _loaded(text: str) -> Tree:
    """Texts, lists and mappings, and nothing else. Raises YAMLError, RecursionError."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (makes fewer kinds of objects than the safe one)


def _has_aliases(text: str) -> bool:
    """A few of them, in one another, would make a tree that nobody can compare."""
    return any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))


def _is_netplan(tree: Tree) -> bool:
    if not isinstance(tree, dict) or not isinstance(tree.get("network") or {}, dict):
        return False
    kinds = [(tree.get("network") or {}).get(kind) or {} for kind in _KINDS]
    return all(
        isinstance(cards, dict) and all(isinstance(body or {}, dict) for body in cards.values())
        for cards in kinds
    )


def _cards(trees: Mapping[str, Tree]) -> Iterator[tuple[_Place, Tree]]:
    for path, tree in trees.items():
        for kind in _KINDS:
            for name, body in ((tree.get("network") or {}).get(kind) or {}).items():
                yield _Place(path, kind, str(name)), body or {}


def _covers(place: _Place, body: Tree, nic: SourceNic) -> bool:
    match = body.get("match")
    if not isinstance(match, dict):
        return place.name == nic.name or body.get("set-name") == nic.name
    mac, names = str(match.get("macaddress", "")).lower(), match.get("name", ())
    patterns = names if isinstance(names, list) else [names] if names else []
    fits = [mac == nic.mac] if mac else []
    if patterns:
        fits.append(any(fnmatchcase(nic.name, str(pattern)) for pattern in patterns))
    return bool(fits) and all(fits) and set(match) <= {"macaddress", "name", "driver"}


def _is_of(place: _Place, body: Tree, card: CardAddressing) -> bool:
    if place.kind != "ethernets":
        return place.name == card.name
    return _covers(place, body, SourceNic(card.name, card.mac))


def _refusal(trees: Mapping[str, Tree], card: CardAddressing, nics: Iterable[SourceNic]) -> Outcome | None:
    others = [nic for nic in real_cards(nics) if nic.name != card.name]
    for place, body in _cards(trees):
        if place.kind in ("bonds", "bridges") and card.name in (body.get("interfaces") or ()):
            return is_part_of(card.name, place.name, place.path)
        is_mine = place.kind == "ethernets" and _is_of(place, body, card)
        shared = next((nic.name for nic in others if _covers(place, body, nic)), None)
        if is_mine and shared is not None and isinstance(body.get("match"), dict):
            return Outcome(
                refusal=f"{place.path}: {place.name!r} is of {card.name} and of {shared}: give each network "
                "card a part of its own on the source"
            )
    return None


def _changed(
    trees: Mapping[str, Tree], places: list[_Place], card: CardAddressing, *, is_last: bool
) -> tuple[dict[_Place, Tree], list[str]]:
    """The parts of one file, as they will be; the last one has the addresses. And the routes that stay."""
    new, left = {}, []
    for place in places:
        body = trees[place.path]["network"][place.kind][place.name] or {}
        kept, routes = _without(body, place.path)
        has_addresses = is_last and place == places[-1]
        new[place] = kept | _lines(card, kept) if has_addresses else kept
        left.extend(routes)
    return new, left


def _without(body: Tree, path: str) -> tuple[Tree, list[str]]:
    """A card without addresses, ways out and name servers."""
    if "<<" in body:
        raise _Unreadable(f"{path} merges parts of YAML (`<<`), which netplan does not: write them out")
    kept = {key: value for key, value in body.items() if key not in _ADDRESSING}
    routes = [each for each in _listed(body, "routes") if not _is_default(each)]
    names = {key: each for key, each in _mapped(body, "nameservers").items() if key != "addresses"}
    for key, value in (("routes", routes), ("nameservers", names)):
        kept.pop(key, None)
        if value:
            kept[key] = value
    return kept, [f"route to {each.get('to')}" for each in routes if isinstance(each, dict)]


def _listed(body: Tree, key: str) -> list[Tree]:
    value = body.get(key)
    return value if isinstance(value, list) else []


def _mapped(body: Tree, key: str) -> dict[str, Tree]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _is_default(route: Tree) -> bool:
    return isinstance(route, dict) and route.get("to") in _DEFAULTS


def _lines(card: CardAddressing, kept: Tree) -> dict[str, Tree]:
    """What a card gets; `to: default` is unknown to netplan before 0.103."""
    if not card.is_static:
        return {"dhcp4": "true"}
    found: dict[str, Tree] = {"addresses": list(card.addresses)}
    ways = {"0.0.0.0/0": card.of_family(4).gateway, "::/0": card.of_family(6).gateway}
    routes = [{"to": to, "via": via} for to, via in ways.items() if via]
    if routes or kept.get("routes"):
        found["routes"] = [*routes, *kept.get("routes", ())]
    if card.dns:
        found["nameservers"] = {**kept.get("nameservers", {}), "addresses": list(card.dns)}
    return found


def _written(text: str, tree: Tree, new: Mapping[_Place, Tree], places: list[_Place]) -> str:
    """The file with the new parts: comments elsewhere stay, unless it is written in a form without lines."""
    wanted = _with(tree, new)
    if wanted == tree:
        return text
    for place in places:
        text = _spliced(text, place, new[place]) or ""
    try:
        is_right = bool(text) and _loaded(text) == wanted
    except yaml.YAMLError:
        is_right = False
    return text if is_right else _dumped(wanted)


def _with(tree: Tree, new: Mapping[_Place, Tree]) -> Tree:
    network = dict(tree["network"])
    for place, body in new.items():
        network[place.kind] = {**network[place.kind], place.name: body}
    return {**tree, "network": network}


def _spliced(text: str, place: _Place, body: Tree) -> str | None:
    """The text with another part of the card in the place of its lines; None where it has none of its own."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return None
    for key in ("network", place.kind, place.name):
        found = _entry(node, key)
        if found is None:
            return None
        label, value = found
        node = value
    begin, column = label.start_mark.index, label.start_mark.column
    end = text.find("\n", max(_end(value), label.end_mark.index))
    part = _dumped({place.name: body}).replace("\n", "\n" + " " * column).rstrip(" ")
    return text[:begin] + part + (text[end + 1 :] if end >= 0 else "")


def _entry(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return None
    return next(((name, value) for name, value in node.value if name.value == key), None)


def _end(node: yaml.Node) -> int:
    """Where the last text of a part ends; that of a mapping is where the next one begins."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        end: int = node.end_mark.index
        return end
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _dumped(tree: Tree) -> str:
    text: str = yaml.dump(tree, Dumper=_PlainDumper)
    return text


def created(card: CardAddressing) -> Outcome:
    """A file of the card's own, after the others."""
    tree = {"network": {"version": "2", "ethernets": {card.name: _lines(card, {})}}}
    path = f"{FOLDER}90-go2cloud-{card.name}.yaml"
    return Outcome({path: MADE + _dumped(tree)}, privacy=Privacy.ROOT)
