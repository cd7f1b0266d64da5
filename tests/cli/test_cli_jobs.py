"""`go2cloud job …` against a service whose own workers run the jobs."""

import asyncio
import json
import threading

import httpx2
import pytest
import yaml

from app.contract.words import Place
from app.migration.projects.service import ensure_default_project
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.jobs import Order
from app.work.kinds import JobKind, Step
from tests.cli.conftest import CommandLine
from tests.services.running import Running


class Desk:
    """Orders jobs inside the running service."""

    def __init__(self, running: Running) -> None:
        """Register kinds, and a route that orders them."""
        self._url = running.url
        self.is_mended = threading.Event()
        self._services: Services = running.app.state.services
        steps = {"greeting": self._greet, "failing": self._fail, "endless": self._wait}
        for name, run in steps.items():
            first = Step("first", Place.CONTROL, self._greet)
            self._services.kinds.add(JobKind(name, (first, Step("then", Place.VOLUMES, run))))
        running.app.add_api_route("/order/{kind}", self._enqueue, methods=["POST"])
        running.app.router.routes.insert(0, running.app.router.routes.pop())

    def order(self, kind: str) -> str:
        """The id of a new job."""
        with httpx2.Client(base_url=self._url) as http:
            job: str = http.post(f"/order/{kind}").json()
        return job

    async def _enqueue(self, kind: str) -> str:
        async with self._services.database.begin() as uow:
            project = await ensure_default_project(uow)
            return await self._services.jobs.enqueue(uow, kind, Order(project.id, requested_by="ann"))

    async def _greet(self, context: Context) -> str:
        context.log("looking around")
        return f"done by {context.step}"

    async def _fail(self, context: Context) -> None:
        if not self.is_mended.is_set():
            raise StepFailed("the disk has no bootloader", code="NO_BOOTLOADER", remedy="install one")

    async def _wait(self, context: Context) -> None:
        while True:
            context.check_cancelled()
            await asyncio.sleep(0.05)


@pytest.fixture
def desk(running: Running) -> Desk:
    return Desk(running)


def test_a_job_is_followed_to_its_end(go2cloud: CommandLine, desk: Desk) -> None:
    job = desk.order("greeting")
    shown = go2cloud("job", "watch", job)
    assert "SUCCEEDED" in shown
    assert "step then is done" in go2cloud.notes
    found = json.loads(go2cloud("job", "show", job, "-o", "json"))
    assert (found["result"], found["progress"]) == ("done by then", 100)
    assert [(step["place"], step["state"]) for step in found["steps"]] == [
        ("control", "SUCCEEDED"),
        ("volumes", "SUCCEEDED"),
    ]
    assert yaml.safe_load(go2cloud("job", "show", job, "-o", "yaml")) == found
    assert "looking around" in go2cloud("job", "show", job, "--events")
    assert go2cloud("job", "list", "-o", "name") == f"{job}\n"
    assert job in go2cloud("job", "list", "--kind", "greeting", "--state", "SUCCEEDED")
    assert go2cloud("job", "list", "--state", "FAILED", "-o", "name") == ""


def test_a_failed_job_is_exit_1_with_its_remedy_and_is_retried(go2cloud: CommandLine, desk: Desk) -> None:
    job = desk.order("failing")
    go2cloud("job", "watch", job, code=1)
    assert "the disk has no bootloader" in go2cloud.notes
    assert "try: install one" in go2cloud.notes
    desk.is_mended.set()
    assert "PENDING" in go2cloud("job", "retry", job)
    assert "SUCCEEDED" in go2cloud("job", "watch", job)
    go2cloud("job", "retry", job, code=1)
    assert "SUCCEEDED" in go2cloud.notes


def test_a_job_is_cancelled(go2cloud: CommandLine, desk: Desk) -> None:
    job = desk.order("endless")
    go2cloud("job", "cancel", job)
    go2cloud("job", "watch", job, code=1)
    assert "is CANCELLED" in go2cloud.notes
    go2cloud("job", "show", "job-unknown", code=3)
