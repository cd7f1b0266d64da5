"""Chunks to be done, cut into leaves, portions and places in a buffer: none is missed, none done twice."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.disk.reader import ALIGNMENT
from app.agent.daemon.following.restless import places_of, restless
from app.agent.daemon.pipeline.leaves import LeafKey, LeafTask, Run, portions, tasks_of, without
from app.agent.daemon.pipeline.segment import padded, placed, run_bytes
from app.wire.tree import LEAF_IDS

UNIT = 64 * 1024
CHUNKS = 3 * LEAF_IDS

spans = st.lists(
    st.tuples(st.integers(0, CHUNKS * UNIT - 1), st.integers(1, 5 * UNIT)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=30,
)
wide = st.lists(
    st.tuples(st.integers(0, CHUNKS - 1), st.integers(1, LEAF_IDS * 2)).map(
        lambda p: (p[0] * UNIT, (p[0] + p[1]) * UNIT)
    ),
    max_size=4,
)


def chunks_of(runs: list[Run] | tuple[Run, ...]) -> list[int]:
    """The numbers of the chunks."""
    return [number for first, count in runs for number in range(first, first + count)]


@given(st.one_of(spans, wide).map(Extents.of))
def test_tasks_do_each_chunk_that_is_touched_once_and_no_other(extents: Extents) -> None:
    tasks = tasks_of(3, extents, UNIT)
    done = [number for task in tasks for number in chunks_of(task.runs or ())]
    touched = {number for start, end in extents for number in range(start // UNIT, -(-end // UNIT))}
    assert done == sorted(touched)
    assert [task.key.index for task in tasks] == sorted({number // LEAF_IDS for number in touched})
    for task in tasks:
        assert task.key.disk == 3
        assert {number // LEAF_IDS for number in chunks_of(task.runs or ())} == {task.key.index}
        pairs = zip(task.runs or (), (task.runs or ())[1:], strict=False)
        assert all(sum(one) < other[0] for one, other in pairs), "runs that touch are one"


def ascending(pairs: list[tuple[int, int]]) -> list[Run]:
    """Runs from (gap, count) pairs."""
    runs, at = list[Run](), 0
    for gap, count in pairs:
        runs.append((at + gap, count))
        at += gap + count
    return runs


runs_of = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), max_size=20).map(ascending)


@given(runs_of, st.integers(1, 64))
def test_portions_are_full_but_for_the_last_and_keep_order(runs: list[Run], most: int) -> None:
    groups = list(portions(runs, most))
    assert [number for group in groups for number in chunks_of(group)] == chunks_of(runs)
    sizes = [len(chunks_of(group)) for group in groups]
    assert all(size == most for size in sizes[:-1])
    assert all(0 < size <= most for size in sizes)


@given(runs_of.filter(bool), st.integers(0, UNIT - 1))
def test_places_in_a_buffer_follow_each_other_aligned(runs: list[Run], missing: int) -> None:
    size = sum(runs[-1]) * UNIT - missing
    places = list(placed(runs, UNIT, size))
    at = 0
    for run, place in zip(runs, places, strict=True):
        start, end = run_bytes(run, UNIT, size)
        assert place == at
        assert place % ALIGNMENT == 0
        assert 0 <= padded(run, UNIT, size) - (end - start) < ALIGNMENT
        at += padded(run, UNIT, size)


@given(runs_of, st.sets(st.integers(0, 800)))
def test_a_task_without_some_chunks_does_all_others(runs: list[Run], left_out: set[int]) -> None:
    task = without(LeafTask(LeafKey(0, 0), tuple(runs)), left_out)
    kept = [chunk for chunk in chunks_of(runs) if chunk not in left_out]
    assert chunks_of((task.runs or ()) if task else ()) == kept
    assert (task is None) == (not kept)


def test_a_chunk_is_restless_that_was_written_to_in_several_places() -> None:
    log = (0, 2 * UNIT + 4096)
    table = [(at, at + 4096) for at in range(4 * UNIT, 6 * UNIT, 16384)]
    places = places_of([log, *table, (6 * UNIT, 6 * UNIT + 4096), (6 * UNIT + 8192, 7 * UNIT)], UNIT)
    assert restless({5: places}, 10) == {5: {4, 5, 6}}


def test_of_too_many_restless_chunks_those_written_to_in_most_places_are_chosen() -> None:
    assert restless({0: Counter({1: 2, 2: 9, 3: 1}), 1: Counter({7: 5})}, 2) == {0: {2}, 1: {7}}
    assert restless({}, 2) == restless({0: Counter({1: 2})}, 0) == {}
