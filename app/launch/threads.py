"""Threads of this room's own, for what blocks.

A wave boots many machines at once, and a guest that is starting lets connections hang for seconds. The loop's
default executor has a handful of threads, which belong to everybody in the process.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from app.launch.errors import LaunchStopped

P = ParamSpec("P")
T = TypeVar("T")
MOST: Final = 64
_POOL: Final = ThreadPoolExecutor(MOST, "launch")


class Stop:
    """Tells a thread that nobody waits for its result any more."""

    def __init__(self) -> None:
        """Not told yet."""
        self._told = threading.Event()

    def tell(self) -> None:
        """Let `check` raise from now on."""
        self._told.set()

    def check(self) -> None:
        """Raises LaunchStopped when it was told; long work calls it every second or so."""
        if self._told.is_set():
            raise LaunchStopped("the caller does not wait any more")


async def stoppable(call: Callable[[Stop], T]) -> T:
    """The call's result; where the caller is cancelled, the thread is told, and its end is waited for.

    So nothing of it still works when an undo begins.
    """
    stop = Stop()
    work = asyncio.ensure_future(in_thread(call, stop))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.tell()
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError:
                continue
        work.exception()
        raise


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result; its thread goes on where the caller is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, partial(call, *args, **kwargs))
