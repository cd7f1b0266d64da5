"""The order of the servers of a run: pure, out of applications, what they come after, and groups.

A server comes after all servers of the group before its own, and the first group of an application comes
after the last one of each application that it comes after. An application without servers in the run hands
on what it comes after itself. So it is enough to say for each server which ones directly before it must be
done; what does not succeed keeps back all that comes after it, however far.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby

from app.migration.waves.errors import ApplicationOrderCircular


class Direction(StrEnum):
    """How an operation uses the order: as it is, turned round, or not at all."""

    FORWARD = "FORWARD"
    BACKWARD = "BACKWARD"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Member:
    """A server of an application; lower groups come first."""

    server_id: str
    group: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """An application as the order sees it; `after` are ids of applications that come before it."""

    id: str
    name: str
    members: tuple[Member, ...] = ()
    after: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Turn:
    """A server in the order, and those directly before it that must be done first."""

    server_id: str
    application_id: str
    group: int
    after: frozenset[str] = frozenset()


def sorted_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The applications, each behind all that it comes after; otherwise as they were given.

    What an application comes after and is not among them is passed over. Raises ApplicationOrderCircular.
    """
    known = {part.id: part for part in parts}
    placed: dict[str, Part] = {}
    for part in known.values():
        _place(part, known, placed, [])
    return tuple(placed.values())


def _place(part: Part, known: Mapping[str, Part], placed: dict[str, Part], path: list[Part]) -> None:
    if part.id in placed:
        return
    if part in path:
        raise _circular([*path[path.index(part) :], part])
    for before in known.values():
        if before.id in part.after:
            _place(before, known, placed, [*path, part])
    placed[part.id] = part


def _circular(circle: Sequence[Part]) -> ApplicationOrderCircular:
    names = [part.name for part in circle]
    return ApplicationOrderCircular(
        f"the applications would come after each other: {' after '.join(names)}",
        remedy="take one of these away: go2cloud application update --after …",
        cycle=names,
    )


def turns(parts: Iterable[Part], direction: Direction = Direction.FORWARD) -> tuple[Turn, ...]:
    """The servers in an order in which each stands behind all that it comes after.

    Raises ApplicationOrderCircular.
    """
    found: list[Turn] = []
    last: dict[str, frozenset[str]] = {}
    for part in sorted_parts(parts):
        before = frozenset[str]().union(*(last.get(each, frozenset()) for each in part.after))
        found.extend(_of_part(part, before))
        last[part.id] = _last_group(part) or before
    return _directed(tuple(found), direction)


def _of_part(part: Part, before: frozenset[str]) -> Iterable[Turn]:
    members = sorted(part.members, key=lambda member: member.group)
    for group, of_group in groupby(members, key=lambda member: member.group):
        ids = [member.server_id for member in of_group]
        yield from (Turn(server, part.id, group, before) for server in ids)
        before = frozenset(ids)


def _last_group(part: Part) -> frozenset[str]:
    last = max((member.group for member in part.members), default=0)
    return frozenset(member.server_id for member in part.members if member.group == last)


def _directed(found: tuple[Turn, ...], direction: Direction) -> tuple[Turn, ...]:
    if direction is Direction.FORWARD:
        return found
    if direction is Direction.NONE:
        return tuple(replace(turn, after=frozenset()) for turn in found)
    followers = {
        turn.server_id: frozenset(other.server_id for other in found if turn.server_id in other.after)
        for turn in found
    }
    return tuple(replace(turn, after=followers[turn.server_id]) for turn in reversed(found))
