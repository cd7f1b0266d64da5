"""How a step stops while a target works for it: what an undo could meet in its way is waited for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from app.work.context import Context

T = TypeVar("T")

LISTEN_SECONDS: Final = 1.0


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which runs to its end also where the caller is interrupted.

    A thread that still starts a machine, or writes a volume, would do so behind the back of the undo.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _ended(task)
        raise


async def _ended(task: "asyncio.Task[T]") -> None:
    """Wait for the end whatever else is cancelled; the outcome is of no use any more."""
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


async def listening(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled within a second when the step is to stop, and then ends."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            context.check_cancelled()
            await asyncio.wait({task}, timeout=LISTEN_SECONDS)
        return task.result()
    finally:
        task.cancel()
        await _ended(task)
