"""One request is one unit of work: committed before the answer, rolled back on error, repeated as a whole."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Response
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import String, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.kit.clock import SystemClock
from app.kit.database import Database
from app.kit.errors import Conflict
from app.kit.problems import install_problem_handlers
from app.kit.settings import DatabaseSettings, Engine
from app.kit.transaction import TransactionalRoute, Uow


class _Base(DeclarativeBase):
    """Tables of these tests alone."""


class Note(_Base):
    __tablename__ = "kit_note"
    text: Mapped[str] = mapped_column(String(50), primary_key=True)


class Unique(_Base):
    """A reference that SQLite checks at the commit only."""

    __tablename__ = "kit_deferred"
    id: Mapped[int] = mapped_column(primary_key=True)


@dataclass(frozen=True)
class Services:
    database: Database


attempts: list[str] = []
router = APIRouter(route_class=TransactionalRoute)
Sentence = Annotated[str, Body(embed=True)]


async def busy_twice(uow: Uow) -> None:
    """A dependency that meets a busy database, twice."""
    attempts.append("dependency")
    uow.session.add(Note(text=f"attempt {len(attempts)}"))
    await uow.session.flush()
    if len(attempts) < 3:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


@router.post("/notes", status_code=201)
async def add(uow: Uow, sentence: Sentence) -> dict[str, str]:
    uow.session.add(Note(text=sentence))
    return {"text": sentence}


@router.post("/stubborn", dependencies=[Depends(busy_twice)])
async def add_stubbornly(uow: Uow, sentence: Sentence) -> dict[str, str]:
    return await add(uow, sentence)


@router.post("/refused")
async def refuse(uow: Uow, sentence: Sentence) -> None:
    uow.session.add(Note(text=sentence))
    await uow.session.flush()
    raise Conflict("not now")


@router.post("/dangling", status_code=201)
async def dangle(uow: Uow) -> None:
    """The database finds out at the commit only."""
    await uow.session.execute(text("INSERT INTO kit_child VALUES (1, 99)"))


@router.get("/notes")
async def list_notes(uow: Uow) -> list[str]:
    return list(await uow.session.scalars(select(Note.text).order_by(Note.text)))


@router.get("/stream")
async def stream(uow: Uow) -> Response:
    notes = await list_notes(uow)

    async def lines() -> AsyncIterator[str]:
        for note in notes:
            yield note + "\n"

    return StreamingResponse(lines())


@router.get("/sneaky")
async def write_in_a_get(uow: Uow) -> None:
    uow.session.add(Note(text="sneaky"))
    await uow.session.flush()


plain = APIRouter()


@plain.get("/plain")
async def without_route_class(uow: Uow) -> None:
    raise AssertionError(uow)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """An application with the routes above, two inclusions deep."""
    attempts.clear()
    database = Database.connect(DatabaseSettings(Engine.SQLITE, tmp_path / "go2cloud.db"), SystemClock())
    async with database.begin() as unit:
        connection = await unit.session.connection()
        await connection.run_sync(_Base.metadata.create_all)
        await unit.session.execute(text(_CHILD))
    outer = APIRouter()
    outer.include_router(router, prefix="/v1")
    outer.include_router(plain, prefix="/v1")
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    app.state.services = Services(database)
    install_problem_handlers(app)
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        yield client
    await database.close()


_CHILD = """CREATE TABLE kit_child (
    id INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES kit_deferred (id) DEFERRABLE INITIALLY DEFERRED
)"""


async def _notes(client: AsyncClient) -> list[str]:
    notes: list[str] = (await client.get("/notes")).json()
    return notes


async def test_success_is_committed(client: AsyncClient) -> None:
    answer = await client.post("/notes", json={"sentence": "one"})
    assert (answer.status_code, answer.json()) == (201, {"text": "one"})
    assert await _notes(client) == ["one"]


async def test_a_refusal_rolls_back(client: AsyncClient) -> None:
    answer = await client.post("/refused", json={"sentence": "one"})
    assert answer.status_code == 409
    assert await _notes(client) == []


async def test_a_commit_that_fails_is_not_shown_as_success(client: AsyncClient) -> None:
    assert (await client.post("/dangling")).status_code == 500


async def test_the_whole_handler_is_repeated_with_its_body_and_its_dependencies(client: AsyncClient) -> None:
    answer = await client.post("/stubborn", json={"sentence": "kept"})
    assert answer.json() == {"text": "kept"}
    assert len(attempts) == 3
    assert await _notes(client) == ["attempt 3", "kept"]


async def test_a_get_cannot_write(client: AsyncClient) -> None:
    assert (await client.get("/sneaky")).status_code == 500
    assert await _notes(client) == []


async def test_a_stream_goes_on_after_its_unit(client: AsyncClient) -> None:
    for sentence in ("a", "b"):
        await client.post("/notes", json={"sentence": sentence})
    assert (await client.get("/stream")).text == "a\nb\n"


async def test_a_route_without_a_unit_says_what_is_missing(client: AsyncClient) -> None:
    strict = AsyncClient(transport=ASGITransport(client._transport.app), base_url=client.base_url)  # type: ignore[attr-defined]
    async with strict:
        with pytest.raises(TypeError, match="TransactionalRoute"):
            await strict.get("/plain")
