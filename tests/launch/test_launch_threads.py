"""Threads that are told that nobody waits for them."""

import asyncio
import threading

import pytest

from app.launch.errors import LaunchStopped
from app.launch.threads import Stop, stoppable


async def test_a_result_and_an_error_are_the_threads() -> None:
    def fail(stop: Stop) -> None:
        stop.check()
        raise ValueError("as it is")

    assert await stoppable(lambda stop: 4711) == 4711
    with pytest.raises(ValueError, match="as it is"):
        await stoppable(fail)


async def test_who_is_cancelled_returns_when_the_thread_has_ended() -> None:
    begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        begun.set()
        assert goes_on.wait(20)
        try:
            stop.check()
        except LaunchStopped:
            ended.set()
            raise

    task = asyncio.create_task(stoppable(work))
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
