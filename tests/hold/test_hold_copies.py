"""A copy of the source, with its credential and its journal: what it says is not the source's, as long as the
source is held and the copy may run as the launched machine."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from app.contract.words import HoldPhase
from app.kit.database import UnitOfWork
from app.migration.hold import service as holds
from app.migration.hold.tables import HoldRow
from app.migration.servers.enrolment import find_server, hold_lease
from app.migration.servers.errors import DuplicateAgent
from app.wire.hold import HoldReport
from app.wire.jsonform import encode
from app.wire.messages import Enroll, Enrolled, Inventory, Poll, Polled
from tests.e2e.source_host import AGENT, SourceHost
from tests.gateway.hand_agent import Answer, Caller, HandAgent
from tests.hold.held_host import PATIENCE, Center, HeldHost, center
from tests.hold.test_hold_reports import PROOF, Cutover, cutover
from tests.hold.test_hold_way_back import ANOTHER_BOOT, launched

__all__ = ["cutover"]

P = HoldPhase
LEASE = timedelta(seconds=60)
OTHER = "cd" * 16
ORIGINAL, COPY = Inventory("web-1", os_name="the source"), Inventory("copy", os_name="the machine")


async def may_take(cutover: Cutover, proof: str | None) -> bool:
    return await cutover.do(lambda uow: holds.may_take_lease(uow, cutover.agent.server, proof))


async def test_only_who_holds_may_take_the_lease_while_the_source_is_held(cutover: Cutover) -> None:
    facts = await cutover.to_final()
    assert await may_take(cutover, None), "no copy runs yet"
    await cutover.keep()
    await cutover.says(P.HELD, **(facts | {"proof": PROOF}))
    for _ in range(2):
        assert [await may_take(cutover, proof) for proof in (None, OTHER, PROOF)] == [False, False, True]
        await cutover.release()
    await cutover.says(P.RELEASED, proof=PROOF)
    assert await may_take(cutover, None), "the machine was gone before the release was ordered"


@pytest.mark.parametrize("is_free", [True, False])
async def test_who_may_not_take_a_lease_can_only_go_on_with_its_own(cutover: Cutover, is_free: bool) -> None:
    server = cutover.agent.server
    cutover.clock.advance(timedelta(days=1))
    await cutover.do(lambda uow: hold_lease(uow, server, "first", LEASE))
    if is_free:
        cutover.clock.advance(2 * LEASE)
    with pytest.raises(DuplicateAgent, match="held for a cutover"):
        await cutover.do(lambda uow: hold_lease(uow, server, "second", LEASE, may_take=False))
    await cutover.do(lambda uow: hold_lease(uow, server, "first", LEASE, may_take=False))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """The service."""
    with center(tmp_path_factory.mktemp("copies") / "service") as made:
        yield made


def of(running: Center, server: str) -> tuple[object, ...]:
    """What a heartbeat changes about a server."""

    async def look(uow: UnitOfWork) -> tuple[object, ...]:
        row = await find_server(uow, server)
        seen = (row.instance, row.lease_until, row.last_seen_at)
        return (*seen, row.hostname, row.inventory, row.status_at, row.generation, row.replication_state)

    return running.work(look)


def poll(agent: HandAgent, inventory: Inventory | None = None, proof: str | None = None) -> Answer:
    message = Poll(agent.instance, "idle", inventory=inventory, proof=proof)
    return agent.caller.call("POST", "/poll", encode(message))


def another(agent: HandAgent, instance: str) -> HandAgent:
    """One with the same credential: of a copy, or of the same host in another boot."""
    return HandAgent(agent.caller, agent.server, instance)


@pytest.fixture
def original(running: Center) -> HandAgent:
    """The agent of a source that is held, whose lease has ended: it is away for a while."""
    port = running.listening.port
    message = Enroll(running.install_token(), "instance-1", "1.0", ORIGINAL)
    made = Caller(port).call("POST", "/enroll", encode(message)).good(Enrolled, 201)
    agent = HandAgent(Caller(port, made.credential), made.server_id)
    poll(agent, ORIGINAL)

    async def hold(uow: UnitOfWork) -> None:
        await holds.quiesce(uow, agent.server, "cut-1", 60)
        row = await uow.session.scalar(select(HoldRow).where(HoldRow.server_id == agent.server))
        assert row is not None
        row.wanted, row.reached, row.proof = P.HELD, P.HELD, PROOF
        (await find_server(uow, agent.server)).lease_until = uow.now - LEASE

    running.work(hold)
    return agent


def test_a_copy_changes_nothing_of_the_server_while_the_source_is_held(
    running: Center, original: HandAgent
) -> None:
    copy = another(original, "instance-2")
    before = of(running, original.server)
    for proof in (None, OTHER):
        assert poll(copy, COPY, proof).refusal == (409, "DUPLICATE_AGENT")
    assert "go2cloud server reverse" in poll(copy).problem["remedy"]
    assert copy.try_open({"disk-a": 4096}).refusal == (409, "DUPLICATE_AGENT")
    assert of(running, original.server) == before
    assert poll(original).status == 200, "of a version that sends no proof"
    assert poll(copy, COPY).refusal == (409, "DUPLICATE_AGENT")


def test_a_source_that_was_rebooted_is_heard_by_its_proof_and_hears_that_it_is_released(
    running: Center, original: HandAgent
) -> None:
    rebooted = another(original, "instance-3")
    assert poll(rebooted, ORIGINAL, PROOF).status == 200
    running.work(lambda uow: holds.release(uow, original.server, "cut-1"))
    order = poll(rebooted, proof=PROOF).good(Polled).orders.hold
    assert order is not None
    assert order.phase == P.RELEASED
    said = HoldReport(order.revision, P.RELEASED, "STARTED", cause="ORDERED", proof=PROOF)
    assert rebooted.caller.call("POST", "/holds/cut-1/report", encode(said)).status == 204
    assert rebooted.try_open({"disk-a": 4096}).status == 201


def test_a_proof_that_is_none_is_refused_as_a_message(original: HandAgent) -> None:
    assert poll(original, proof="moon").refusal == (400, "BAD_MESSAGE")


def held(host: HeldHost) -> tuple[str, bytes]:
    """Hold the source for good; its final checkpoint, and the journal that is in it."""
    host.supervise()
    host.replicated()
    host.quiesce()
    host.reached(P.QUIESCED)
    journal = (host.source.state / "hold.json").read_bytes()
    host.finish()
    host.reached(P.FINAL)
    host.keep()
    final = host.reached(P.HELD).checkpoint_id
    assert final is not None
    return final, journal


@pytest.mark.root
@pytest.mark.slow
def test_the_agent_in_the_launched_machine_never_speaks_for_the_source(
    host: HeldHost, tmp_path: Path
) -> None:
    """The source's host is away, so that its lease is free; then it comes back, in another boot."""
    final, journal = held(host)
    host.is_supervised = False
    host.kill_agent()
    host.wait(lambda: lease_is_over(host), "the source's lease ends")
    before = of(host.center, host.server)
    with launched(host, final) as machine:
        (machine.agent.state / "hold.json").write_bytes(journal)
        with machine.agent.running("--hooks", str(tmp_path / "none")) as agent:
            guard = threading.Timer(PATIENCE, agent.kill)
            guard.start()
            assert agent.stdout is not None
            assert any("it counts as a copy" in line for line in agent.stdout)
            guard.cancel()
        assert of(host.center, host.server) == before
    boot = tmp_path / "boot-id"
    boot.write_text("99999999-8888-7777-6666-555555555555\n")
    host.source = SourceHost(
        host.source.state,
        ("env", f"G2C_TEST_BOOT={boot}", *ANOTHER_BOOT, *AGENT),
        host.source.extra,
    )
    host.start_agent()
    host.wait(lambda: not lease_is_over(host), "the source is heard again")
    assert host.hold().is_reached(P.HELD)
    host.release()
    host.reached(P.RELEASED)


def lease_is_over(host: HeldHost) -> bool:
    async def look(uow: UnitOfWork) -> bool:
        until = (await find_server(uow, host.server)).lease_until
        return until is None or until < uow.now

    return host.center.work(look)
