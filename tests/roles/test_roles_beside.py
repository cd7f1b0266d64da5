"""What runs beside the requests does not die unheard."""

import asyncio
from contextlib import AsyncExitStack

from structlog.testing import capture_logs

from app import main


async def die() -> None:
    raise ZeroDivisionError("nobody thought of that")


async def test_a_task_that_dies_is_logged_at_once_and_the_others_end_as_ever() -> None:
    with capture_logs() as told:
        async with AsyncExitStack() as stack:
            main.run_beside(stack, die)
            async with asyncio.timeout(30):
                while not told:  # noqa: ASYNC110  (a log has no event to wait for)
                    await asyncio.sleep(0.01)
    (record,) = [each for each in told if each["event"] == "service.task_died"]
    assert (record["log_level"], record["task"]) == ("error", "die")
    assert isinstance(record["exc_info"], ZeroDivisionError)
