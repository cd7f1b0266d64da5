"""How this process itself is doing: its event loop, and its connections to the database.

A loop that is late answers everybody late: something computes in it, or the node has no CPU left.
"""

import asyncio
import time
from typing import Final, NoReturn

from prometheus_client import Gauge, Histogram

from app.kit.database import Database

LOOK_SECONDS: Final = 0.5

LATE = Histogram(
    "go2cloud_event_loop_late_seconds",
    "How much later than asked for the event loop came back from a sleep of half a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_USE = Gauge("go2cloud_database_connections_in_use", "Connections that units of work hold right now.")
LIMIT = Gauge(
    "go2cloud_database_connections_limit",
    "The most connections that this process opens to a database server; 0 with SQLite.",
)


async def watch_loop() -> NoReturn:
    """Measure the event loop until cancelled."""
    while True:
        asked = time.monotonic() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        LATE.observe(max(0.0, time.monotonic() - asked))


async def watch_connections(database: Database) -> NoReturn:
    """Look at the pools of `database` until cancelled."""
    LIMIT.set(database.connections_limit)
    while True:
        IN_USE.set(database.connections_in_use)
        await asyncio.sleep(LOOK_SECONDS)
