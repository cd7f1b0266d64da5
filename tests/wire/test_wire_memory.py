"""Memory for reading and writing past the page cache."""

import ctypes
import mmap

import pytest

from app.wire.memory import aligned

HUGE_PAGE = 2 << 20


@pytest.mark.parametrize("size", [4096, HUGE_PAGE, 16 << 20])
def test_it_begins_at_a_huge_page_and_is_zero(size: int) -> None:
    view = aligned(size)
    assert view.nbytes == size
    assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % HUGE_PAGE == 0
    assert not any(view[:: mmap.PAGESIZE])


def test_it_is_given_back_with_the_last_view() -> None:
    for _ in range(10_000):
        aligned(16 << 20)
