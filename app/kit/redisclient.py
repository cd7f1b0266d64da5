"""The connection to Redis: to one server, or to whichever server Sentinel says is the master.

With Sentinel the master is asked for at each new connection, so that after a failover the next call reaches
the new one; a server that answers that it is a replica now is left, too.
"""

from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from app.kit.settings import RedisSettings

CONNECT_SECONDS: Final = 1.0


@dataclass(frozen=True)
class RedisLink:
    """A client, and those of the sentinels that it asks."""

    client: Redis
    sentinels: tuple[Redis, ...] = ()

    async def close(self) -> None:
        """Close all connections."""
        for each in (self.client, *self.sentinels):
            await each.aclose()


def connect(settings: RedisSettings, timeout_seconds: float) -> RedisLink:
    """A link whose calls wait `timeout_seconds` for an answer; connects when first used."""
    password = None if settings.password is None else settings.password.get_secret_value()
    options: dict[str, Any] = {
        "password": password,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 1),
        "decode_responses": True,
    }
    if not settings.sentinels:
        assert settings.host is not None, "a Redis bus needs a Redis host"
        return RedisLink(Redis(host=settings.host, port=settings.port, **options))
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(settings.sentinels), sentinel_kwargs=_to_sentinels(settings)
    )
    return RedisLink(sentinel.master_for(settings.sentinel_name, **options), tuple(sentinel.sentinels))


def _to_sentinels(settings: RedisSettings) -> dict[str, Any]:
    password = settings.sentinel_password
    return {
        "password": None if password is None else password.get_secret_value(),
        "socket_timeout": CONNECT_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
