"""What a target still does when its step is interrupted is over before the step is undone."""

import asyncio

import pytest

from app.migration.launch.stopping import whole


async def test_work_is_ended_before_the_interruption_goes_on() -> None:
    begun, may_end, seen = asyncio.Event(), asyncio.Event(), []

    async def launch() -> str:
        begun.set()
        await may_end.wait()
        seen.append("launched")
        return "machine"

    task = asyncio.create_task(whole(launch()))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["launched"]


async def test_results_and_errors_pass() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def give() -> int:
        return 1

    assert await whole(give()) == 1
    with pytest.raises(ValueError, match="no"):
        await whole(fail())
