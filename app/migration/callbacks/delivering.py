"""Delivering what waits in the outbox, for as long as a process of role `api` lives; several may do so.

A process claims a subscription (`claims`), sends its events one after the other in their order, and removes
each from the outbox when its receiver has said that it has it. Whoever dies in between leaves the event where
it is: it is sent again, under the same id. A receiver that fails is left alone for a while, longer each time;
an event that it refuses (400, 413, 422) steps aside alone, and those behind it go on. Who has much to be told
makes room for others after a while.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import uuid4

from app.kit.bus import Gap
from app.kit.logging import get_logger
from app.migration.callbacks import claims
from app.migration.callbacks.claims import Candidate, Claim
from app.migration.callbacks.errors import Fenced
from app.migration.callbacks.outbox import KINDS
from app.migration.callbacks.sending import Sender
from app.migration.callbacks.settling import settle
from app.migration.services import Services
from app.work.attempt import TROUBLE
from app.work.leases import OWN_SHARE, Ticks, Watch

LOOK_SECONDS: Final = 2.0
"""Between two looks where no news wakes us: the bus may be away."""

MOST_AT_ONCE: Final = 16
"""Subscriptions that one process delivers to at a time."""

MOST_IN_A_ROW: Final = 100
"""Events of one subscription; then, or after a lease's time, those that were served longer ago come first."""

ATTEMPT_SHARE: Final = 1 / 3
"""Of the lease, which one attempt may take."""

_log = get_logger("go2cloud.callbacks")


@dataclass
class Deliverer:
    """Delivers, until it is told to stop."""

    services: Services
    sender: Sender
    ticks: Ticks = time.monotonic
    draw: Callable[[], float] = random.random
    look_seconds: float = LOOK_SECONDS
    most_at_once: int = MOST_AT_ONCE
    holder: str = field(default_factory=lambda: f"{socket.gethostname()[:40]}-{uuid4().hex[:16]}")

    def __post_init__(self) -> None:
        """Nothing is delivered yet."""
        self.lease_seconds = self.services.settings.callbacks.timeout_seconds / ATTEMPT_SHARE
        self._watch = Watch(self.lease_seconds, self.ticks)
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._news = asyncio.Event()
        self._is_failing = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until `stopping` is set: what is being sent then is still waited for."""
        listening = asyncio.create_task(self._listen())
        listening.add_done_callback(_deaf)
        ending = asyncio.create_task(stopping.wait())
        ending.add_done_callback(lambda _: self._news.set())
        try:
            while not stopping.is_set():
                await self._look_once(stopping)
                await self._pause()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        finally:
            left = (listening, ending, *self._tasks.values())
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def _listen(self) -> None:
        async for item in self.services.bus.subscribe():
            if isinstance(item, Gap) or item.event.type in KINDS:
                self._news.set()

    async def _pause(self) -> None:
        """Until there is news, or it is time to look anyhow."""
        try:
            async with asyncio.timeout(self.look_seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _look_once(self, stopping: asyncio.Event) -> None:
        """Begin what can be begun; a database that is away is said once, and looked for again.

        Anything unforeseen is a defect, which is logged each time and does not end the delivering.
        """
        try:
            await self._look(stopping)
        except TROUBLE as error:
            if not self._is_failing:
                _log.warning("callbacks.look_failed", error=str(error))
            self._is_failing = True
        except Exception:  # noqa: BLE001  (a defect must not end the delivering)
            _log.exception("callbacks.look_died")
        else:
            self._is_failing = False

    async def _look(self, stopping: asyncio.Event) -> None:
        async with self.services.database.reading() as uow:
            found = await claims.candidates(uow)
        abandoned = self._watch.abandoned(each.sign for each in found if each.holder)
        for each in found:
            is_free = not each.holder or each.sign.job_id in abandoned
            if is_free and each.sign.job_id not in self._tasks and len(self._tasks) < self.most_at_once:
                self._begin(each, stopping)

    def _begin(self, wanted: Candidate, stopping: asyncio.Event) -> None:
        task = asyncio.create_task(self._deliver(wanted, stopping), name=wanted.sign.job_id)
        self._tasks[task.get_name()] = task
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[bool]) -> None:
        """A delivery that ends in anything unforeseen is a defect, and said at once; others go on.

        After one that served somebody there is room for another: it is looked for at once.
        """
        self._tasks.pop(task.get_name(), None)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("callbacks.died", subscription=task.get_name(), exc_info=error)
        elif task.result():
            self._news.set()

    async def _deliver(self, wanted: Candidate, stopping: asyncio.Event) -> bool:
        """Deliver to one subscription until nothing is left, it fails, or it is others' turn.

        Whether something was sent and written down.
        """
        database = self.services.database
        try:
            held = await database.run(partial(claims.claim, wanted=wanted, holder=self.holder))
            if held is None:
                return False
            try:
                return await self._drain(held, stopping) > 0
            finally:
                await database.run(partial(claims.release, held=held))
        except Fenced as lost:
            _log.info("callbacks.fenced", detail=str(lost))
        except TROUBLE as error:
            _log.warning("callbacks.broke_off", subscription=wanted.sign.job_id, error=str(error))
        return False

    async def _drain(self, held: Claim, stopping: asyncio.Event) -> int:
        """Send one event after the other; how many. The claim is renewed where sending might outlast it."""
        database, goes_on, sent, began = self.services.database, True, 0, self.ticks()
        beaten = began
        while goes_on and not stopping.is_set() and not self._is_others_turn(sent, began):
            async with database.reading() as uow:
                found = await claims.next_of(uow, held, self.services.settings)
            if found is None:
                break
            if self.ticks() - beaten > (OWN_SHARE - ATTEMPT_SHARE) * self.lease_seconds:
                beaten = self.ticks()
                await database.run(partial(claims.renew, held=held))
            answer = await self.sender.send(found.receiver, found.letter)
            beaten = self.ticks()
            goes_on = await database.run(
                partial(settle, held=held, sent=found, answer=answer, draw=self.draw)
            )
            sent += 1
        return sent

    def _is_others_turn(self, sent: int, began: float) -> bool:
        return sent >= MOST_IN_A_ROW or self.ticks() - began >= self.lease_seconds


def _deaf(listening: asyncio.Task[None]) -> None:
    """Without news events are found at the next look; why there is none any more is a defect."""
    if not listening.cancelled() and (error := listening.exception()) is not None:
        _log.error("callbacks.deaf", exc_info=error)
