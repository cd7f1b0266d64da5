"""A source that was held and lost, and whose cutover was taken back without it: its host is built anew, or is
restored from a backup, enrols again, and is a source like any other."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from app.agent.daemon.state import StateDir
from app.contract.words import HoldPhase, HoldServices
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.migration.hold import service as holds
from app.migration.hold.leaving import HOLDER_LOST, forget_holder
from app.migration.hold.tables import HoldRow
from app.migration.servers.enrolment import find_server
from app.wire.jsonform import encode
from app.wire.messages import Poll
from tests.e2e.deployment import until
from tests.e2e.source_host import WAIT_SECONDS, SourceHost, enrolled_as
from tests.gateway.hand_agent import Answer, Caller
from tests.hold.held_host import Center, center

P = HoldPhase
PROOF = "ab" * 16
LEASE = timedelta(seconds=60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """The service."""
    with center(tmp_path_factory.mktemp("rebuilt") / "service") as made:
        yield made


def enrol(running: Center, host: SourceHost, disk: Path, *claim: str) -> str:
    """Enrol the host; what the agent says to its operator."""
    where = ("--no-preflight", "--url", running.listening.url, "--token", running.install_token())
    done = host.attempt("enroll", *where, "--disk", str(disk), *claim)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The disk of the host."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(1 << 20))
    return path


@pytest.fixture
def lost(running: Center, disk: Path, tmp_path: Path) -> SourceHost:
    """A source after `revert --source-gone`: it was held, was not heard since, and is to be given back."""
    host = SourceHost(tmp_path / "agent")
    enrol(running, host, disk, "--new")
    host.sync()
    server = enrolled_as(host)

    async def hold(uow: UnitOfWork) -> None:
        await holds.quiesce(uow, server, "cut-1", 60)
        row = await uow.session.scalar(select(HoldRow).where(HoldRow.server_id == server))
        assert row is not None
        row.wanted, row.reached, row.proof, row.services = P.HELD, P.HELD, PROOF, HoldServices.STOPPED
        (await find_server(uow, server)).lease_until = uow.now - LEASE
        await holds.release(uow, server, "cut-1")

    running.work(hold)
    return host


def is_source_again(running: Center, server: str, host: SourceHost) -> None:
    """The host's agent, once it runs, ends the hold, so that another cutover can begin."""

    async def stands(uow: UnitOfWork) -> bool:
        return await holds.ordered(uow, server) is not None

    with host.running():
        until(lambda: not running.work(stands), WAIT_SECONDS, "the agent says that it holds nothing")
    running.work(lambda uow: holds.quiesce(uow, server, "cut-2", 60))


def polled(running: Center, host: SourceHost) -> Answer:
    """A poll of the host's agent, without the proof."""
    with StateDir(host.state) as state:
        enrolment, instance = state.require_enrolment(), state.instance_id()
    caller = Caller(running.listening.port, enrolment.credential)
    return caller.call("POST", "/poll", encode(Poll(instance, "idle")))


@pytest.mark.parametrize("is_named", [True, False])
def test_the_host_that_was_built_anew_can_be_cut_over(
    running: Center, lost: SourceHost, disk: Path, tmp_path: Path, is_named: bool
) -> None:
    server = enrolled_as(lost)
    host = SourceHost(tmp_path / "rebuilt")
    told = enrol(running, host, disk, "--replace" if is_named else "--server", server)
    assert enrolled_as(host) == server
    assert "stopped services for cutover cut-1" in told
    assert "look whether they run" in told
    assert polled(running, host).status == 200, "it needs no proof"
    is_source_again(running, server, host)


def test_a_restored_host_with_the_old_credential_is_told_how_to_come_back(
    running: Center, lost: SourceHost, disk: Path, tmp_path: Path
) -> None:
    server = enrolled_as(lost)
    restored = SourceHost(tmp_path / "restored")
    shutil.copytree(lost.state, restored.state)
    answer = polled(running, restored)
    assert answer.refusal == (409, "DUPLICATE_AGENT")
    assert "move the agent's state directory away" in answer.problem["remedy"]
    assert "go2cloud-agent enroll --replace" in answer.problem["remedy"]
    restored.state.rename(tmp_path / "aside")
    enrol(running, restored, disk, "--replace", server)
    is_source_again(running, server, restored)
    assert polled(running, lost).refusal == (401, "AGENT_CREDENTIAL_INVALID")


def test_that_services_are_left_stopped_is_told_once_and_only_where_it_is_so(
    running: Center, lost: SourceHost, disk: Path, tmp_path: Path
) -> None:
    server = enrolled_as(lost)
    first = SourceHost(tmp_path / "first")
    enrol(running, first, disk, "--replace", server)
    is_source_again(running, server, first)
    assert enrol(running, SourceHost(tmp_path / "second"), disk, "--replace", server) == ""


def test_who_watches_the_bus_hears_that_services_are_left_stopped(running: Center, lost: SourceHost) -> None:
    server = enrolled_as(lost)
    news: list[Event] = []

    async def forget(uow: UnitOfWork) -> None:
        assert await forget_holder(uow, await find_server(uow, server)) == "cut-1"
        news.extend(uow.news)

    running.work(forget)
    (event,) = news
    assert (event.type, event.subject, event.data["services"]) == (HOLDER_LOST, server, "STOPPED")
