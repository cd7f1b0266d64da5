"""Threads of this room's own, for what blocks.

A wave boots many machines at once, and a guest that is starting lets connections hang for seconds. The loop's
default executor has a handful of threads, which belong to everybody in the process.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
MOST: Final = 64
_POOL: Final = ThreadPoolExecutor(MOST, "launch")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result; its thread goes on where the caller is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, partial(call, *args, **kwargs))
