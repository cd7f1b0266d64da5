"""Where objects lie: the interface that every backend keeps, and nothing about what the objects mean.

A name is a relative path of one or more parts, each of letters, digits, `.`, `_` and `-`, none starting with
a dot. All calls are synchronous and may block; any thread may make them at the same time.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from app.wire.buffers import Buffer

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


Range: TypeAlias = tuple[int, int]
"""(offset, length) in bytes."""


@dataclass(frozen=True)
class ObjectInfo:
    """A stored object: its size in bytes and when it was put there (aware, UTC)."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Usage:
    """Bytes that may still be written (the reserve left out) and bytes in all."""

    free: int
    total: int


class Backend(Protocol):
    """A place for immutable objects."""

    def put(self, name: str, parts: Sequence[Buffer], *, reserved: bool = False) -> None:
        """Store the parts, one after the other, as the object `name`.

        Atomic: a reader sees nothing or all of it. Durable when it returns: a power cut keeps it. Repeatable:
        under a taken name the object is replaced as atomically, so that a retry after an unclear outcome is
        right and a damaged object heals. `reserved` lets a small object that completes earlier ones use the
        reserve of free space. Raises StoreFull, StoreUnavailable; then nothing of it counts as stored.
        """

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes from `offset`, exactly `length` of them, or all to the end.

        Raises ObjectMissing, StoreUnavailable, and ObjectDamaged where the object ends before the range or
        the medium cannot give its bytes back.
        """

    def get_ranges(self, name: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        """The bytes of each of these ranges, none of them empty, in their order. The storage hears of all of
        them before one is waited for. Raises as `get` does, at the range that cannot be had."""

    def info(self, name: str) -> ObjectInfo:
        """Size and time of one object. Raises ObjectMissing, StoreUnavailable."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose names start with `prefix`, in no promised order.

        An object that is put or deleted meanwhile may appear or not. Half-written ones never appear.
        """

    def delete(self, name: str, *, durable: bool = False) -> None:
        """Remove an object; harmless when it is gone. Raises StoreUnavailable.

        A power cut may bring it back, unless `durable` was asked for: then it is gone for good on return.
        """

    def usage(self) -> Usage:
        """Room in bytes. Raises StoreUnavailable."""


class OpenBackend(Backend, Protocol):
    """A backend that a process has opened."""

    def lock(self, *, exclusive: bool = False) -> AbstractContextManager[None]:
        """Hold the store's lock: shared for a service, alone for an offline command.

        Raises StoreInUse, StoreUnavailable.
        """

    def close(self) -> None:
        """Let go of what is held; the backend is of no use afterwards."""


def checked_name(name: str) -> str:
    """`name` itself; raises ValueError when it is not an object's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an object's name")
    return name
