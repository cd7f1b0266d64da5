"""Byte ranges against plain sets of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.capture.extents import Extents

MOST = 200
SPANS = st.lists(
    st.tuples(st.integers(0, MOST), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=60,
)
FEW = SPANS.map(lambda spans: spans[:3])


def numbers(spans: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


@given(SPANS, SPANS | FEW)
def test_what_is_taken_away_is_gone_and_nothing_else(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    ranges = Extents.of(one)
    left = list(ranges.without(Extents.of(other)))
    assert numbers(left) == numbers(one) - numbers(other)
    assert all(end < start for (_, end), (start, _) in pairwise(left))
    assert numbers(list(ranges)) == numbers(one)


@given(SPANS, st.integers(0, MOST), st.integers(0, 60))
def test_within_and_gaps_share_a_range_out(one: list[tuple[int, int]], start: int, length: int) -> None:
    ranges, end = Extents.of(one), start + length
    inside, outside = numbers(list(ranges.within(start, end))), numbers(list(ranges.gaps(start, end)))
    assert inside == numbers(one) & set(range(start, end))
    assert inside | outside == set(range(start, end))
    assert not inside & outside
