"""The workers of a process: one for each place that its roles stand for."""

import asyncio
import socket
from collections.abc import Iterable

from app.contract.words import Place
from app.kit.database import Database
from app.kit.logging import get_logger
from app.kit.settings import WorkSettings
from app.work import meters
from app.work.attempt import Lease
from app.work.jobs import Jobs
from app.work.worker import Bench, Worker

_log = get_logger("go2cloud.jobs")


class Crew:
    """Starts workers, and lets them end when the process begins to stop."""

    def __init__(
        self, database: Database, jobs: Jobs, settings: WorkSettings, places: Iterable[Place]
    ) -> None:
        """Nothing runs yet."""
        meters.begin_at_zero(jobs.kinds.all)
        self._workers = [Worker(database, jobs, _bench(settings, place)) for place in sorted(places)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, stopping: asyncio.Event) -> None:
        """Start the workers; they drain when `stopping` is set, or when `stop` is called."""
        self._tasks = [asyncio.create_task(_logged(worker)) for worker in self._workers]
        self._tasks.append(asyncio.create_task(self._drain_when(stopping)))

    async def stop(self) -> None:
        """Drain, and return when all steps have ended or are given back."""
        await self._drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _drain_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await self._drain()

    async def _drain(self) -> None:
        await asyncio.gather(*(worker.drain() for worker in self._workers))


async def _logged(worker: Worker) -> None:
    """A worker ends by itself only when it is drained; anything else is a defect, and is said at once."""
    try:
        await worker.run()
    except Exception:
        _log.exception("jobs.worker_died")
        raise


def _bench(settings: WorkSettings, place: Place) -> Bench:
    return Bench(
        place=place,
        seats=settings.control_steps if place is Place.CONTROL else settings.volume_steps,
        node=settings.node or socket.gethostname(),
        lease=Lease(settings.lease_seconds, settings.look_seconds),
        drain_seconds=settings.drain_seconds,
    )
