"""Freed memory goes back to the kernel in a calm, and not before."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from app.kit import memory
from app.kit.memory import give_back_freed_memory, give_back_in_calms

MIB = 1 << 20
PIECE = 64 * 1024


def resident() -> int:
    """Bytes of this process in memory."""
    line = next(
        each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


def leave_gaps() -> list[bytearray]:
    """Free 100 MiB whose end is still in use, so that the C library keeps it; the end."""
    taken = [bytearray(b"x") * PIECE for _ in range(100 * MIB // PIECE)]
    return taken[-1:]


def test_free_memory_between_what_is_used_goes_back() -> None:
    kept = leave_gaps()
    before = resident()
    give_back_freed_memory()
    assert before - resident() > 50 * MIB
    assert kept


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows each time that memory is given back."""
    times: list[bool] = []
    monkeypatch.setattr(memory, "give_back_freed_memory", lambda: times.append(True))
    return times


async def test_it_is_given_back_once_in_each_calm_after_work(
    given: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.0, 0.0, 0.3, 0.0, 0.9, 0.3, 1.4, 0.05, 0.0, 0.2])

    async def share() -> float:
        found = next(shares, None)
        if found is None:
            raise asyncio.CancelledError
        return found

    monkeypatch.setattr(memory, "_share_of_a_core", share)
    with contextlib.suppress(asyncio.CancelledError):
        await give_back_in_calms()
    assert len(given) == 2, "after the start, and after the work"
