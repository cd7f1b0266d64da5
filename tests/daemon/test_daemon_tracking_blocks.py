"""Dirty sets against plain sets of block numbers."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking import dirty
from app.agent.daemon.tracking.bits import BLOCK, LEAF_SPAN, union
from app.agent.daemon.tracking.blocks import BlockSet
from app.agent.daemon.tracking.dirty import DirtyMap
from tests.daemon.disk_images import run

SIZE = 3 * LEAF_SPAN + 5 * BLOCK
starts = st.one_of(
    st.integers(0, SIZE - 1),
    st.sampled_from([0, LEAF_SPAN - 1, LEAF_SPAN, 2 * LEAF_SPAN - BLOCK, SIZE - 1]),
    st.integers(0, 100 * BLOCK),
)
lengths = st.one_of(st.integers(0, 20 * BLOCK), st.integers(0, 2 * LEAF_SPAN), st.just(BLOCK))
ranges = st.tuples(starts, lengths)


def blocks_of(start: int, length: int) -> set[int]:
    """The blocks that have one of the bytes."""
    return set(range(start // BLOCK, -(-(start + length) // BLOCK))) if length else set()


def blocks_in(extents: Iterable[tuple[int, int]]) -> set[int]:
    """The blocks of ascending ranges that do not touch."""
    found: set[int] = set()
    at = -1
    for start, end in extents:
        assert at < start < end
        found |= blocks_of(start, end - start)
        at = end
    return found


@given(st.lists(ranges, max_size=8), st.lists(ranges, max_size=8), ranges)
@settings(max_examples=60)
def test_a_block_set_is_a_set_of_blocks(
    one: list[tuple[int, int]], other: list[tuple[int, int]], window: tuple[int, int]
) -> None:
    made, second = BlockSet(), BlockSet()
    expected: set[int] = set()
    for start, length in one:
        made.add(start, length)
        expected |= blocks_of(start, length)
    assert made.total == len(expected) * BLOCK
    for start, length in other:
        second.add(start, length)
        expected |= blocks_of(start, length)
    made.update(second)
    assert made.total == len(expected) * BLOCK
    assert bool(made) == bool(expected)
    assert blocks_in(made.extents()) == expected

    start, end = window[0], window[0] + window[1]
    inside = list(made.within(start, end))
    assert all(start <= low < high <= end for low, high in inside)
    assert blocks_in(inside) == expected & blocks_of(*window)
    assert made.touches(start, end) == bool(expected & blocks_of(*window))


def test_a_block_set_that_was_cleared_is_empty() -> None:
    made = BlockSet()
    made.add(LEAF_SPAN - 1, 2)
    assert list(made.extents()) == [(LEAF_SPAN - BLOCK, LEAF_SPAN + BLOCK)]
    made.clear()
    assert (made.total, list(made.extents()), bool(made)) == (0, [], False)


class _Model:
    """The two sets of a map as sets of block numbers."""

    def __init__(self) -> None:
        self.current: set[int] = set()
        self.frozen: set[int] = set()

    def mark(self, start: int, length: int) -> None:
        end = min(start + length, SIZE)
        self.current |= blocks_of(start, end - start)

    def take(self) -> set[int]:
        taken, self.current = self.current, set()
        self.frozen |= taken
        return taken


steps = st.lists(
    st.one_of(ranges, st.sampled_from(["take", "take_all", "drop_frozen", "clean", "reopen"])), max_size=12
)


@given(steps)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_dirty_map_is_two_sets_that_outlive_the_process(
    tmp_path: Path, steps: list[str | tuple[int, int]]
) -> None:
    path = tmp_path / "disk.dirty"
    path.unlink(missing_ok=True)
    made, model = DirtyMap(path, SIZE), _Model()
    for step in steps:
        if isinstance(step, tuple):
            made.mark(*step)
            model.mark(*step)
        elif step == "reopen":
            made.close()
            made = DirtyMap(path, SIZE)
            assert made.adopted
        else:
            _do(step, made, model)
        assert made.current_bytes == len(model.current) * BLOCK
        assert made.frozen_bytes == len(model.frozen) * BLOCK
    made.close()


def _do(step: str, made: DirtyMap, model: _Model) -> None:
    if step == "take":
        assert blocks_in(made.take().extents()) == model.take()
    elif step == "take_all":
        model.take()
        assert blocks_in(made.take_all().extents()) == model.frozen
    elif step == "drop_frozen":
        made.drop_frozen()
        model.frozen.clear()
    else:
        made.clean()
        model.frozen.clear()
        model.current.clear()


def test_single_blocks_of_a_leaf_are_marked_one_by_one(tmp_path: Path) -> None:
    made = DirtyMap(tmp_path / "m", SIZE)
    made.mark_all((number * 3 * BLOCK + 17, 1) for number in range(1000))
    made.mark_all((number * 3 * BLOCK + 17, 1) for number in range(1000))
    assert made.current_bytes == 1000 * BLOCK
    assert blocks_in(made.take().extents()) == {number * 3 for number in range(1000)}
    made.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: b"x" + raw[1:], "damaged"),
        (lambda raw: raw[:-1], "cut"),
        (lambda raw: b"", "there were no dirty sets"),
    ],
)
def test_a_damaged_file_begins_empty_and_says_so(
    tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / "m"
    made = DirtyMap(path, SIZE)
    made.mark(0, 1)
    made.close()
    path.write_bytes(spoil(path.read_bytes()))
    made = DirtyMap(path, SIZE)
    assert (made.adopted, made.current_bytes) == (False, 0)
    assert words in made.reason
    made.close()


def test_a_disk_that_grew_begins_empty(tmp_path: Path) -> None:
    made = DirtyMap(tmp_path / "m", SIZE)
    made.mark(0, 1)
    made.close()
    made = DirtyMap(tmp_path / "m", SIZE + LEAF_SPAN)
    assert (made.adopted, made.current_bytes) == (False, 0)
    assert str(SIZE) in made.reason
    made.close()


def test_a_process_that_dies_in_the_middle_of_a_swap_loses_no_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    made = DirtyMap(path, SIZE)
    expected = {0, LEAF_SPAN // BLOCK, 2 * LEAF_SPAN // BLOCK}
    for block in expected:
        made.mark(block * BLOCK, BLOCK)
    calls = []

    def die(one: bytes, other: bytes) -> bytes:
        calls.append(one)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return union(one, other)

    monkeypatch.setattr(dirty, "union", die)
    with pytest.raises(KeyboardInterrupt):
        made.take()
    monkeypatch.undo()
    again = DirtyMap(path, SIZE)
    assert blocks_in(again.take_all().extents()) == expected
    again.close()
    made.close()


@pytest.mark.root
def test_a_full_run_folder_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path)
    try:
        made = DirtyMap(tmp_path / "m", SIZE)
        (tmp_path / "filler").write_bytes(bytes(180 * 1024))
        with pytest.raises(TrackingError, match="make room"):
            made.mark(2 * LEAF_SPAN, BLOCK)
        (tmp_path / "filler").unlink()
        made.mark(2 * LEAF_SPAN, BLOCK)
        assert made.current_bytes == BLOCK
        made.close()
    finally:
        run("umount", tmp_path)


def test_a_map_gives_its_space_back_after_a_commit(tmp_path: Path) -> None:
    made = DirtyMap(tmp_path / "m", 1 << 40)
    empty = made.path.stat().st_blocks
    for leaf in range(100):
        made.mark(leaf * 3 * LEAF_SPAN, BLOCK)
    made.take()
    assert made.path.stat().st_blocks >= empty + 100 * 32
    made.mark(0, BLOCK)
    made.drop_frozen()
    assert made.path.stat().st_blocks <= empty + 64
    assert (made.current_bytes, made.frozen_bytes) == (BLOCK, 0)
    made.close()
