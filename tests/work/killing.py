"""Databases that die or pause at a chosen moment, as the process that uses them would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Self

from app.kit.database import Database, UnitOfWork


class Killed(BaseException):
    """The process was killed: nobody catches this."""


class When(StrEnum):
    """Which side of a commit."""

    BEFORE = "before"
    AFTER = "after"


class KillingDatabase(Database):
    """The database of a process that dies at its n-th commit; from then on nothing goes through."""

    at: int
    when: When
    commits: int
    is_dead: bool

    @classmethod
    def on(cls, database: Database, at: int, when: When) -> Self:
        """Die before or after the commit number `at`, counted from 1."""
        made = cls.__new__(cls)
        made.__dict__.update(database.__dict__)
        made.at, made.when, made.commits, made.is_dead = at, when, 0, False
        return made

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A unit of the process."""
        self._live()
        async with super().begin() as unit:
            yield unit
            self.commits += 1
            self.is_dead = self.commits == self.at and self.when is When.BEFORE
            self._live()
        self.is_dead = self.commits == self.at
        self._live()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        """A unit of the process."""
        self._live()
        async with super().reading() as unit:
            yield unit

    def _live(self) -> None:
        if self.is_dead:
            raise Killed


class PausingDatabase(Database):
    """The database of a process that can be paused (SIGSTOP): its units begin and end when it goes on."""

    going: asyncio.Event
    is_dead: bool
    units: int

    @classmethod
    def of(cls, database: Database) -> Self:
        """A process that runs."""
        made = cls.__new__(cls)
        made.__dict__.update(database.__dict__)
        made.going = asyncio.Event()
        made.going.set()
        made.is_dead, made.units = False, 0
        return made

    async def die(self) -> None:
        """Let nothing go through any more; returns when no unit is open, and no connection in use."""
        self.is_dead = True
        self.going.set()
        while self.units:  # noqa: ASYNC110  (a counter)
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A unit of the process."""
        async with self._alive(), super().begin() as unit:
            yield unit
            self._live()
        await self.going.wait()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        """A unit of the process."""
        async with self._alive(), super().reading() as unit:
            yield unit
        await self.going.wait()

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        await self.going.wait()
        self._live()
        self.units += 1
        try:
            yield
        finally:
            self.units -= 1

    def _live(self) -> None:
        if self.is_dead:
            raise Killed
