"""What the agent keeps in its state directory is whole, or as it was before."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.errors import StateError
from app.agent.daemon.state import LastPass, StateDir, write_atomically

ROOM = 8192


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel writes the first `size` bytes of a file, and no more, as on a disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_kernel_does_in_part_only_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "instance"
    write_atomically(path, b"old" * ROOM)
    with files_of_at_most(ROOM), pytest.raises(OSError, match="File too large"):
        write_atomically(path, b"new" * ROOM)
    assert path.read_bytes() == b"old" * ROOM
    write_atomically(path, b"new" * ROOM)
    assert path.read_bytes() == b"new" * ROOM


def test_a_state_that_finds_no_room_is_told_with_its_file(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.save_last_pass(LastPass("2026-01-01T00:00:00+00:00", number=1))
    with (
        files_of_at_most(ROOM),
        pytest.raises(StateError, match=r"last-pass.json cannot be written.*make room"),
    ):
        state.save_last_pass(LastPass("2026-01-01T00:01:00+00:00", error="x" * ROOM))
    kept = state.last_pass()
    assert kept is not None
    assert kept.number == 1
