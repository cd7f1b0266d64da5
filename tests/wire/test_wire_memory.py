"""Memory for reading and writing past the page cache."""

import ctypes
import mmap
import subprocess
import sys

import pytest

from app.wire.memory import aligned, unfilled

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


FORKING = """
import os
from app.wire.memory import aligned
view = aligned(4096)
view[0] = 7
child = os.fork()
if child == 0:
    was, view[0] = view[0], 9
    os._exit(was)
print(os.waitpid(child, 0)[1], view[0])
"""


def test_a_forked_process_has_memory_of_its_own_there() -> None:
    """Nothing at all would end a child of a fork server by SIGSEGV at its first large write."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "7"]


def test_unfilled_memory_has_the_size_that_was_asked_for() -> None:
    for size in (0, 1, 5 << 20):
        room = unfilled(size)
        assert len(room) == size
        room[:] = b"7" * size
        assert room.count(b"7") == size
