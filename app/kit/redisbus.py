"""The bus on a Redis stream, for several processes.

A position is the id of a stream entry. As the stream is only ever cut at its old end, nothing after an
entry is missing as long as the entry itself is still there. A reader therefore looks for the last entry
it has read when it begins, and again after each batch, before it passes the batch on: the client may have
connected anew, to a Redis that came back empty, without saying so.

When Redis is away, publishing gives up at once (and tries again after a pause), and readers reconnect.
The first failure and the recovery are logged; what was not published is counted in
``go2cloud_bus_unpublished_total``.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.kit.bus import RING_EVENTS, Bus, Delivery, Event, Gap, InProcessBus, Item
from app.kit.logging import get_logger
from app.kit.redisclient import connect
from app.kit.settings import RedisSettings

STREAM = "go2cloud:events"
FIELD = "event"
BATCH = 200
BLOCK_MILLISECONDS = 5000
PUBLISH_TIMEOUT_SECONDS = 1.0
PAUSE_SECONDS = 1.0
"""After a failure: how long publishers do not try, and readers wait."""

BEGINNING = "0-0"
_ENTRY = re.compile(r"\d+-\d+")
_AWAY = (RedisError, OSError, TimeoutError)
_UNPUBLISHED = Counter("go2cloud_bus_unpublished", "Events not published because Redis was away.")

_log = get_logger("go2cloud.bus")


class RedisBus:
    """A bus over the Redis of `settings`; connects when first used."""

    def __init__(self, settings: RedisSettings, stream: str = STREAM, capacity: int = RING_EVENTS) -> None:
        """Keep about `capacity` events in `stream`."""
        self._stream = stream
        self._capacity = capacity
        self._publisher = connect(settings, PUBLISH_TIMEOUT_SECONDS)
        self._reader = connect(settings, BLOCK_MILLISECONDS / 1000 + 5)
        self._publishing = _Outage("publish")
        self._reading = _Outage("read")
        self._closed = False

    async def publish(self, event: Event) -> None:
        """Append the event to the stream; when Redis is away, count it as lost."""
        if self._publishing.is_pausing():
            _UNPUBLISHED.inc()
            return
        try:
            await self._publisher.client.xadd(
                self._stream, {FIELD: event.encode()}, maxlen=self._capacity, approximate=True
            )
        except _AWAY as error:
            _UNPUBLISHED.inc()
            self._publishing.failed(error)
        else:
            self._publishing.worked()

    async def subscribe(self, after: str | None = None) -> AsyncIterator[Item]:
        """The events after the entry `after`, or from now on (None), until the bus is closed."""
        reader = _Reader(self._reader.client, self._stream, after)
        while not self._closed:
            try:
                items = await reader.items()
            except _AWAY as error:
                reader.is_sure = False
                self._reading.failed(error)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self._reading.worked()
            for item in items:
                yield item

    async def close(self) -> None:
        """Close the connections; a waiting subscription ends when its present wait does."""
        self._closed = True
        await self._publisher.close()
        await self._reader.close()


class _Reader:
    """One subscription: where it stands, and whether that place is known to be still in the stream."""

    def __init__(self, redis: Redis, stream: str, after: str | None) -> None:
        self._redis = redis
        self._stream = stream
        self._position = after
        self.is_sure = False

    async def items(self) -> list[Item]:
        """What came next; empty when nothing came within the blocking time."""
        if not self.is_sure and await self._settle():
            return [Gap()]
        batch = await self._read()
        if batch and not await self._holds():
            self.is_sure = False
            return []
        if batch:
            self._position = batch[-1][0]
        return [item for _position, item in batch]

    async def _settle(self) -> bool:
        """Find the place to read on; whether events were lost before it."""
        if self._position is None or not await self._holds():
            lost = self._position is not None
            newest = await self._redis.xrevrange(self._stream, count=1)
            self._position = str(newest[0][0]) if newest else BEGINNING
        else:
            lost = False
        self.is_sure = True
        return lost

    async def _holds(self) -> bool:
        place = self._position
        if place is None or not _ENTRY.fullmatch(place):
            return False
        return place == BEGINNING or bool(await self._redis.xrange(self._stream, place, place, count=1))

    async def _read(self) -> list[tuple[str, Item]]:
        place = self._position or BEGINNING
        streams: Any = await self._redis.xread({self._stream: place}, count=BATCH, block=BLOCK_MILLISECONDS)
        return [
            (name, _item(name, fields)) for _stream, entries in _pairs(streams) for name, fields in entries
        ]


def _item(position: str, fields: dict[str, str]) -> Item:
    """The event of an entry; one that cannot be read is a gap."""
    try:
        return Delivery(position, Event.decode(fields[FIELD]))
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("bus.unreadable", position=position, detail=str(error))
        return Gap()


class _Outage:
    """Remembers whether Redis is away, to log its beginning and its end."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._since: float | None = None
        self._latest = 0.0

    def is_pausing(self) -> bool:
        return self._since is not None and asyncio.get_running_loop().time() - self._latest < PAUSE_SECONDS

    def failed(self, error: Exception) -> None:
        self._latest = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = self._latest
            _log.warning("bus.lost", action=self._action, exc_info=error)

    def worked(self) -> None:
        if self._since is not None:
            seconds = round(asyncio.get_running_loop().time() - self._since, 1)
            _log.info("bus.recovered", action=self._action, seconds=seconds)
            self._since = None


def make_bus(settings: RedisSettings) -> Bus:
    """The bus of a process: over Redis if there is one, else within the process."""
    return RedisBus(settings) if settings.is_used else InProcessBus()


def _pairs(streams: Any) -> list[Any]:
    """The streams of an XREAD answer: pairs in RESP 2, a mapping in RESP 3."""
    return list(streams.items()) if isinstance(streams, dict) else list(streams or ())
