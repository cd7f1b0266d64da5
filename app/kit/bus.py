"""The bus: events on their way to whoever watches. Lossy, and a hint; the database is the truth.

A publisher never waits for it and never fails because of it. A reader gets the events published after a
position, in order, or a `Gap` when some of them are gone: then it reads the truth afresh and goes on from
there.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self, TypeAlias
from uuid import uuid4

from app.kit.errors import Json
from app.kit.ids import new_id

RING_EVENTS = 10_000
"""Events that a bus remembers, so that a reader can come back after a short absence."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject`, the id of a thing of `project` (None: of the whole service).

    `id` is the event's own and the same on every stream; `type` is a constant such as ``server.updated``;
    `time` is aware UTC; `data` is small.
    """

    type: str
    time: datetime
    project: str | None = None
    subject: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("evt"))

    def encode(self) -> str:
        """The event as JSON text."""
        members = {
            "id": self.id,
            "type": self.type,
            "time": self.time.isoformat(),
            "project": self.project,
            "subject": self.subject,
            "data": dict(self.data),
        }
        return json.dumps(members, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def decode(cls, text: str) -> Self:
        """The event of `encode`; raises ValueError, KeyError or TypeError for anything else."""
        members = json.loads(text)
        return cls(**{**members, "time": datetime.fromisoformat(members["time"])})


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event and its position on this bus, from which a reader can go on."""

    position: str
    event: Event


@dataclass(frozen=True, slots=True)
class Gap:
    """Events after the reader's position are gone. What follows was published after this moment."""


Item: TypeAlias = Delivery | Gap


class Bus(Protocol):
    """Carries events from publishers to readers."""

    async def publish(self, event: Event) -> None:
        """Send an event to all readers. Never raises and never waits long; an event may be lost."""

    def subscribe(self, after: str | None = None) -> AsyncIterator[Item]:
        """The events published after the position `after`, or from now on (None); it never ends by itself."""

    async def close(self) -> None:
        """Release what the bus holds; subscriptions end."""


class InProcessBus:
    """A bus within one process: a ring of the last events.

    A position is ``<epoch>-<number>``; the epoch is drawn anew by each process, so that a position of
    another one is a gap.
    """

    def __init__(self, capacity: int = RING_EVENTS) -> None:
        """Remember the last `capacity` events."""
        self._epoch = uuid4().hex[:12]
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._published = 0
        self._closed = False
        self._news = asyncio.Event()

    async def publish(self, event: Event) -> None:
        """Put the event on the ring and wake the readers."""
        self._ring.append(event)
        self._published += 1
        self._wake()

    async def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        self._wake()

    async def subscribe(self, after: str | None = None) -> AsyncIterator[Item]:
        """The events after the position `after`, or from now on (None), until the bus is closed."""
        read = self._published if after is None else self._number(after)
        while not self._closed:
            if read is None or read < self._published - len(self._ring):
                read = self._published
                yield Gap()
            elif read < self._published:
                event = self._ring[read - self._published]
                read += 1
                yield Delivery(f"{self._epoch}-{read}", event)
            else:
                await self._news.wait()

    def _number(self, position: str) -> int | None:
        epoch, _, number = position.partition("-")
        if epoch != self._epoch or not number.isdecimal() or int(number) > self._published:
            return None
        return int(number)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
