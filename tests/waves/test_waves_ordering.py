"""The order of a run and what it may begin: pure, for any applications and any luck."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.wavewords import RunServerState
from app.migration.waves.errors import ApplicationOrderCircular
from app.migration.waves.ordering import Direction, Member, Part, Turn, sorted_parts, turns
from app.migration.waves.progress import BAD, COUNTED, DONE, Bounds, Halt, Standing, look

S = RunServerState


@st.composite
def fleets(draw: st.DrawFn) -> list[Part]:
    """Applications that come after earlier ones only, some without servers, in a shuffled list."""
    count = draw(st.integers(1, 6))
    parts = []
    for number in range(count):
        groups = draw(st.lists(st.integers(1, 3), max_size=5))
        members = tuple(Member(f"srv-{number}-{at}", group) for at, group in enumerate(groups))
        after = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        parts.append(Part(f"app-{number}", f"n{number}", members, frozenset(f"app-{each}" for each in after)))
    return list(draw(st.permutations(parts)))


def before(parts: list[Part]) -> dict[str, set[str]]:
    """All servers that must be done before each one, by the meaning of the words."""
    known = {part.id: part for part in parts}

    def all_after(part: Part) -> set[str]:
        found: set[str] = set()
        for each in part.after & known.keys():
            found |= {each} | all_after(known[each])
        return found

    return {
        member.server_id: {other.server_id for other in part.members if other.group < member.group}.union(
            *({each.server_id for each in known[app].members} for app in all_after(part))
        )
        for part in parts
        for member in part.members
    }


def reach(found: tuple[Turn, ...]) -> dict[str, set[str]]:
    """All that stands before each turn, however far."""
    known: dict[str, set[str]] = {}
    for turn in found:
        known[turn.server_id] = set(turn.after).union(*(known[each] for each in turn.after))
    return known


@given(fleets())
def test_the_order_is_what_groups_and_applications_say(parts: list[Part]) -> None:
    expected = before(parts)
    found = turns(parts)
    assert sorted(turn.server_id for turn in found) == sorted(expected)
    assert reach(found) == expected


@given(fleets())
def test_backward_is_the_order_turned_round_and_none_is_no_order(parts: list[Part]) -> None:
    expected = before(parts)
    turned = {server: {then for then, first in expected.items() if server in first} for server in expected}
    assert reach(turns(parts, Direction.BACKWARD)) == turned
    assert all(not turn.after for turn in turns(parts, Direction.NONE))


def steps(
    found: tuple[Turn, ...], luck: dict[str, RunServerState], bounds: Bounds, order: st.DataObject
) -> Iterator[tuple[Standing, dict[str, RunServerState]]]:
    """A run to its end: what may begin begins, and one that runs ends, drawn at random."""
    known: dict[str, RunServerState] = {}
    while True:
        standing = look(found, known, bounds)
        yield standing, dict(known)
        known |= dict.fromkeys(standing.begin, S.RUNNING)
        running = [server for server, state in known.items() if state is S.RUNNING]
        if not running:
            return
        known[order.draw(st.sampled_from(running))] = S.SUCCEEDED
        ended = next(server for server in running if known[server] is S.SUCCEEDED)
        known[ended] = luck[ended]


@given(fleets(), st.integers(1, 4), st.none() | st.integers(1, 3), st.data())
def test_any_run_keeps_its_order_and_limits_and_comes_to_an_end(
    parts: list[Part], at_once: int, stop_after: int | None, data: st.DataObject
) -> None:
    found = turns(parts)
    ends = st.sampled_from(
        (S.SUCCEEDED, S.SUCCEEDED, S.SUCCEEDED, S.UNCHANGED, S.FAILED, S.CANCELLED, S.REFUSED)
    )
    luck = {turn.server_id: data.draw(ends) for turn in found}
    first = before(parts)
    bounds = Bounds(at_once, stop_after)
    last = Standing({})
    for standing, known in steps(found, luck, bounds, data):
        last = standing
        failures = sum(state in COUNTED for state in known.values())
        assert len(standing.begin) + standing.running <= at_once
        assert not (standing.begin and stop_after is not None and failures >= stop_after)
        for server in standing.begin:
            assert all(known.get(each) in DONE for each in first[server])
    assert last.is_over
    failures = sum(state in COUNTED for state in last.states.values())
    for server, state in last.states.items():
        kept_back = any(last.states[each] in BAD for each in first[server])
        if state is S.SKIPPED:
            assert kept_back or (stop_after is not None and failures >= stop_after)
            assert last.skipped[server].detail
        else:
            assert (state, kept_back) == (luck[server], False)
    assert last.is_good == all(state in DONE for state in last.states.values())


@given(fleets(), st.integers(1, 4))
def test_a_halted_run_begins_nothing_and_is_over_when_nothing_runs(parts: list[Part], at_once: int) -> None:
    found = turns(parts)
    running = {turn.server_id: S.RUNNING for turn in found[:1]}
    halt = Halt("RUN_ABORTED", "ann aborted the run")
    standing = look(found, running, Bounds(at_once), halt)
    assert (standing.begin, standing.is_over) == ((), not running)
    assert look(found, dict.fromkeys(running, S.SUCCEEDED), Bounds(at_once), halt).is_over


def test_a_circle_is_refused_and_named() -> None:
    parts = [
        Part("app-1", "web", after=frozenset({"app-2"})),
        Part("app-2", "shop", after=frozenset({"app-3"})),
        Part("app-3", "db", after=frozenset({"app-2"})),
    ]
    with pytest.raises(ApplicationOrderCircular) as refusal:
        sorted_parts(parts)
    assert refusal.value.detail.endswith("shop after db after shop")
    assert refusal.value.extra["cycle"] == ["shop", "db", "shop"]
    with pytest.raises(ApplicationOrderCircular):
        sorted_parts([Part("app-1", "web", after=frozenset({"app-1"}))])


def test_an_application_that_takes_no_part_hands_on_what_it_comes_after() -> None:
    parts = [
        Part("app-3", "web", (Member("web-1"),), frozenset({"app-2"})),
        Part("app-2", "cache", (), frozenset({"app-1"})),
        Part("app-1", "db", (Member("db-1"),)),
    ]
    assert [(turn.server_id, turn.after) for turn in turns(parts)] == [
        ("db-1", frozenset()),
        ("web-1", frozenset({"db-1"})),
    ]
