"""Accounts of tests on units of work: their tables, and how to look and pay in."""

from datetime import datetime

from sqlalchemy import String, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.kit.clock import Clock
from app.kit.database import Database, Hash32, Id, JsonText, UnitOfWork, UtcDateTime
from app.kit.errors import Json
from app.kit.settings import DatabaseSettings


class _Base(DeclarativeBase):
    """Tables of these tests alone."""


class Row(_Base):
    __tablename__ = "kit_row"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    hash: Mapped[bytes | None] = mapped_column(Hash32, index=True)
    data: Mapped[Json] = mapped_column(JsonText)


class Account(_Base):
    __tablename__ = "kit_account"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    balance: Mapped[int]


async def opened(settings: DatabaseSettings, clock: Clock) -> Database:
    """A database with the tables above and the empty accounts a and b."""
    database = Database.connect(settings, clock)
    async with database.begin() as unit:
        connection = await unit.session.connection()
        await connection.run_sync(_Base.metadata.create_all)
        unit.session.add_all([Account(name="a", balance=0), Account(name="b", balance=0)])
    return database


async def balance(database: Database, name: str) -> int:
    """What is in an account."""
    async with database.reading() as unit:
        account = await unit.session.get_one(Account, name)
        return account.balance


async def deposit(unit: UnitOfWork, name: str) -> None:
    """Put 1 into an account."""
    statement = update(Account).where(Account.name == name).values(balance=Account.balance + 1)
    await unit.session.execute(statement)
