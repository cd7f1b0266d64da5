"""The REST API on a real database (each engine), a real store and a clock that the test moves."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api.openapi import install_document
from app.api.routes import router
from app.contract.words import Role
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.problems import install_problem_handlers
from app.kit.requestid import RequestIdMiddleware
from app.kit.settings import load_settings
from app.migration.access.tokens import create_token
from app.migration.projects.service import ensure_default_project
from app.migration.services import Services
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend = FolderBackend(tmp_path / "store")
    bus = InProcessBus()
    yield Services(settings, clock, database, bus, ObjectStore(backend, clock=clock))
    await bus.close()
    backend.close()


@pytest.fixture
def app(services: Services) -> FastAPI:
    app = FastAPI(title="go2cloud", version="0.0.0")
    app.state.services = services
    app.add_middleware(RequestIdMiddleware)
    install_problem_handlers(app)
    app.include_router(router(), prefix="/api/v1")
    install_document(app)
    return app


@dataclass(frozen=True)
class Api:
    """The API as one principal sees it."""

    http: httpx2.AsyncClient

    async def call(self, method: str, path: str, status: int, json: object = None, **headers: str) -> Any:
        """The JSON of an answer that has the expected status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.http.request(method, path, json=json, headers=named)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def refused(self, method: str, path: str, json: object = None, **headers: str) -> tuple[int, str]:
        """Status and code of a refusal, which is a whole problem document."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.http.request(method, path, json=json, headers=named)
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert {"type", "title", "status", "detail", "code", "requestId"} <= problem.keys()
        assert problem["status"] == response.status_code
        return response.status_code, problem["code"]


@dataclass(frozen=True)
class Callers:
    """Makes principals."""

    app: FastAPI
    services: Services
    stack: list[httpx2.AsyncClient]

    def with_secret(self, secret: str | None) -> Api:
        """Whoever this bearer secret belongs to."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://api.test/api/v1",
            headers=headers,
        )
        self.stack.append(http)
        return Api(http)

    async def token(self, role: Role, project_id: str | None = None) -> Api:
        """A new API token."""
        async with self.services.database.begin() as uow:
            token = await create_token(uow, f"{role} of {project_id}", project_id, role, None)
        return self.with_secret(token.secret)


@pytest.fixture
async def callers(app: FastAPI, services: Services) -> AsyncIterator[Callers]:
    async with services.database.begin() as uow:
        await ensure_default_project(uow)
    callers = Callers(app, services, [])
    yield callers
    for http in callers.stack:
        await http.aclose()


@pytest.fixture
async def admin(callers: Callers) -> Api:
    return await callers.token(Role.ADMINISTRATOR)
