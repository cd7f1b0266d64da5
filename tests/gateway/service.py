"""The real service with the roles api and agent on SQLite, and secrets that were made before it started."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from app.client.transport import Client
from app.contract.paging import EVERYTHING
from app.contract.words import Role as AccessRole
from app.kit.clock import SystemClock
from app.kit.database import Database, UnitOfWork
from app.kit.settings import Settings, load_settings
from app.migration.access.install_tokens import create_install_token, revoke_install_token
from app.migration.access.tokens import create_token
from app.migration.projects.service import ensure_default_project
from app.roles import Role
from app.schema import running
from tests.gateway.hand_agent import HandAgent
from tests.services.running import Listening


@dataclass(frozen=True)
class Secrets:
    """An administrator's API token and install tokens of several fates."""

    api: str
    install: str
    once: str
    expired: str
    revoked: str


@dataclass
class Gateway:
    """The running service."""

    port: int
    secrets: Secrets
    database: Path
    agents: int = 0

    def client(self) -> Client:
        """A client of the REST API with an administrator's token."""
        return Client(f"http://127.0.0.1:{self.port}", self.secrets.api)

    def enrolled(self) -> HandAgent:
        """A newly enrolled agent."""
        self.agents += 1
        return HandAgent.enrolled(self.port, self.secrets.install, f"host-{self.agents}")

    def end_lease(self, server: str) -> None:
        """Let the lease of a server's agent have ended when it was last seen."""
        with closing(sqlite3.connect(self.database, timeout=10)) as database, database:
            database.execute("UPDATE server SET lease_until = last_seen_at WHERE id = ?", (server,))


def settings_in(folder: Path, **store: str) -> Settings:
    """Settings whose data lie in the folder; `store` are keys of STORE."""
    environment = {"G2C_DATA_DIR": str(folder), "HOME": str(folder)}
    environment["G2C_STORE__RESERVE_BYTES"] = "0"
    return load_settings(environment | {f"G2C_STORE__{key.upper()}": value for key, value in store.items()})


def prepare(settings: Settings) -> Secrets:
    """Make the database and the secrets, while no service has it."""
    return asyncio.run(_prepare(settings))


async def _prepare(settings: Settings) -> Secrets:
    settings.database.path.parent.mkdir(parents=True, exist_ok=True)
    await running.upgrade(settings.database)
    database = Database.connect(settings.database, SystemClock())
    try:
        return await database.run(_make_secrets)
    finally:
        await database.close()


async def _make_secrets(uow: UnitOfWork) -> Secrets:
    project = await ensure_default_project(uow)
    hour = timedelta(hours=1)
    api = await create_token(uow, "tests", None, AccessRole.ADMINISTRATOR, None)
    made = [
        await create_install_token(uow, project.id, name, uses, life, None)
        for name, uses, life in (
            ("install", 10_000, hour),
            ("once", 1, hour),
            ("expired", 9, -hour),
            ("revoked", 9, hour),
        )
    ]
    await revoke_install_token(uow, EVERYTHING, made[-1].id)
    assert api.secret is not None
    return Secrets(api.secret, *(token.secret or "" for token in made))


@contextmanager
def serving(settings: Settings, secrets: Secrets) -> Iterator[Gateway]:
    """Serve for as long as the block runs."""
    service = Listening(settings, frozenset({Role.API, Role.AGENT}))
    with capture_logs():
        service.start()
        try:
            yield Gateway(service.port, secrets, settings.database.path)
        finally:
            service.stop()
