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


async def given_back_after(monkeypatch: pytest.MonkeyPatch, *used: float) -> None:
    """Watch a process that uses as many CPU seconds from look to look."""
    looks = iter(used)

    async def look() -> float:
        found = next(looks, None)
        if found is None:
            raise asyncio.CancelledError
        return found

    monkeypatch.setattr(memory, "_cpu_seconds_to_the_next_look", look)
    with contextlib.suppress(asyncio.CancelledError):
        await give_back_in_calms()


async def test_it_is_given_back_once_in_each_calm_after_work(
    given: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    await given_back_after(monkeypatch, 0.0, 0.0, 0.15, 0.0, 0.45, 0.15, 0.7, 0.02, 0.0, 0.1)
    assert len(given) == 2, "after the start, and after the work"


async def test_it_is_given_back_after_work_that_was_done_slowly(
    given: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    await given_back_after(monkeypatch, 0.0, 0.1, 0.1, 0.1, 0.0)
    assert len(given) == 2, "after the start, and after the work"


async def test_heartbeats_give_it_back_seldom(given: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    await given_back_after(monkeypatch, 0.0, *[0.01] * 45)
    assert len(given) == 2, "after the start, and after a quarter of a second of CPU time in all"
