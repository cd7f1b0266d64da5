"""Limits, priorities, nodes, and jobs that own others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from app.contract.paging import EVERYTHING, PageRequest
from app.contract.words import Place, WaitReason, WorkState
from app.kit.database import UnitOfWork
from app.work import claims
from app.work.claims import Seat
from app.work.context import Context
from app.work.errors import JobStands, StepFailed
from app.work.jobs import Order, Ordered
from app.work.kinds import EndedJob, JobKind, OnFailure, Step
from app.work.limits import Limit
from app.work.service import get_job, list_jobs
from app.work.states import STANDING
from tests.work.engine import PROJECT, Engine, eventually
from tests.work.ledger import Ledger

S = WorkState


@dataclass
class Gauge:
    """How many run at once. The first wait until there are `least` of them."""

    least: int = 1
    now: int = 0
    most: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self.least:
            self.reached.set()
        await self.reached.wait()
        await asyncio.sleep(0.02)
        self.now -= 1


async def test_no_more_jobs_run_at_once_than_a_limit_lets(engine: Engine) -> None:
    gauge = Gauge(least=2)

    async def run(context: Context) -> None:
        await gauge.hold()

    engine.add(JobKind("plain", (Step("a", Place.CONTROL, run), Step("b", Place.CONTROL, run))))
    limits = (Limit("project:prj-1", 3), Limit("target:tgt-1", 2))
    jobs = [await engine.order("plain", limits=limits) for _ in range(8)]
    for _ in range(3):
        engine.start(seats=4)
    for job in jobs:
        await engine.ended(job, S.SUCCEEDED)
    assert gauge.most == 2


async def test_a_job_that_waits_for_a_limit_says_which(engine: Engine) -> None:
    may_end = asyncio.Event()

    async def run(context: Context) -> None:
        await may_end.wait()

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    limit = (Limit("target:tgt-1", 1),)
    first = await engine.order("plain", limits=limit)
    engine.start()
    await engine.until(first, lambda row: row.state == S.RUNNING)
    second = await engine.order("plain", limits=limit)
    free = await engine.order("plain")
    await engine.until(free, lambda row: row.state == S.RUNNING)
    async with engine.database.reading() as uow:
        view = await get_job(uow, EVERYTHING, second)
        page = await list_jobs(uow, EVERYTHING, PageRequest(2))
    assert view.state == S.PENDING
    assert view.waiting is not None
    assert (view.waiting.reason, view.waiting.detail) == (
        WaitReason.LIMIT,
        "for others: target:tgt-1 lets 1 run at once",
    )
    assert [job.id for job in page.items] == [free, second]
    may_end.set()
    for job in (first, second, free):
        await engine.ended(job, S.SUCCEEDED)


async def test_a_more_urgent_job_comes_first(engine: Engine) -> None:
    ran: list[str] = []

    async def run(context: Context) -> None:
        ran.append(context.job_id)

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    jobs = [await engine.order("plain", priority=priority) for priority in (0, 5, 0, 9)]
    engine.start(seats=1)
    for job in jobs:
        await engine.ended(job, S.SUCCEEDED)
    assert ran == [jobs[3], jobs[1], jobs[0], jobs[2]]


async def test_a_job_that_is_bound_to_a_node_waits_for_it(engine: Engine) -> None:
    nodes: list[str] = []

    async def first(context: Context) -> None:
        await context.pin()

    async def fail_once(context: Context) -> None:
        nodes.append(context.node)
        if len(nodes) == 1:
            raise StepFailed("broken")

    steps = (Step("first", Place.VOLUMES, first), Step("then", Place.VOLUMES, fail_once))
    engine.add(JobKind("local", steps))
    job = await engine.order("local")
    one = engine.start(Place.VOLUMES, node="one")
    await engine.ended(job, S.FAILED)
    await one.drain()
    await engine.retry(job)
    engine.start(Place.VOLUMES, node="two")
    other = await engine.order("local")
    await engine.ended(other, S.SUCCEEDED)
    async with engine.database.reading() as uow:
        view = await get_job(uow, EVERYTHING, job)
    assert view.waiting is not None
    assert (view.waiting.reason, view.waiting.detail) == (WaitReason.NODE, "for a worker on node one")
    engine.start(Place.VOLUMES, node="one")
    await engine.ended(job, S.SUCCEEDED)
    assert nodes == ["one", "two", "one"]


@dataclass(frozen=True)
class Wave:
    servers: tuple[str, ...]
    most: int = 4


def wave_kind() -> JobKind:
    """A job that orders a job for each server and waits for them."""

    async def run(context: Context) -> str:
        wave = context.input(Wave)
        limits = (Limit(f"wave:{context.job_id}", wave.most), Limit("project", 20))
        for server in wave.servers:
            order = Order(PROJECT, input=server, server_id=server, limits=limits)
            await context.spawn("server", order, server)
        ended = await context.wait_for_children()
        failed = [child.name for child in ended if child.state is not S.SUCCEEDED]
        if failed:
            raise StepFailed(f"{len(failed)} of {len(ended)} failed: {', '.join(failed)}", code="WAVE_FAILED")
        return f"{len(ended)} servers"

    return JobKind("wave", (Step("servers", Place.CONTROL, run),))


async def test_a_wave_runs_its_servers_within_limits_without_holding_a_worker(engine: Engine) -> None:
    gauge = Gauge()

    async def run(context: Context) -> None:
        await gauge.hold()

    engine.add(wave_kind())
    engine.add(JobKind("server", (Step("only", Place.CONTROL, run),)))
    servers = tuple(f"srv-{number:02}" for number in range(20))
    wave = await engine.order("wave", input=Wave(servers), limits=(Limit("project", 20),))
    engine.start(seats=1)
    await engine.until(wave, lambda row: row.is_parked and not row.holder)
    for _ in range(2):
        engine.start(seats=4)
    row = await engine.ended(wave, S.SUCCEEDED)
    assert (row.result, gauge.most <= 4) == ("20 servers", True)
    async with engine.database.reading() as uow:
        page = await list_jobs(uow, EVERYTHING, PageRequest(100), parent_id=wave)
    assert sorted(job.server_id or "" for job in page.items) == sorted(servers)


async def test_a_parent_and_its_children_may_share_a_limit_of_one(engine: Engine) -> None:
    async def run(context: Context) -> None:
        await asyncio.sleep(0)

    engine.add(wave_kind())
    engine.add(JobKind("server", (Step("only", Place.CONTROL, run),)))
    wave = await engine.order("wave", input=Wave(("a", "b"), 1), limits=(Limit("project", 1),))
    engine.start()
    await engine.ended(wave, S.SUCCEEDED)


async def test_one_failure_does_not_stop_the_others_and_the_wave_says_it(engine: Engine) -> None:
    async def run(context: Context) -> None:
        if context.input(str) == "b":
            raise StepFailed("no bootloader")

    engine.add(wave_kind())
    engine.add(JobKind("server", (Step("only", Place.CONTROL, run),)))
    wave = await engine.order("wave", input=Wave(("a", "b", "c")))
    engine.start()
    row = await engine.ended(wave, S.FAILED)
    assert (row.code, row.detail) == ("WAVE_FAILED", "1 of 3 failed: b")


async def test_cancelling_a_wave_cancels_its_servers_first(engine: Engine) -> None:
    ledger, order = Ledger(), list[str]()

    async def run(context: Context) -> None:
        ledger.make(context)
        await asyncio.sleep(3600)

    async def undo(context: Context) -> None:
        ledger.take_back(context)
        order.append("server")

    async def undo_wave(context: Context) -> None:
        order.append("wave")

    wave_step = wave_kind().steps[0]
    engine.add(JobKind("wave", (Step("servers", Place.CONTROL, wave_step.run, undo_wave),)))
    engine.add(JobKind("server", (Step("only", Place.CONTROL, run, undo),)))
    wave = await engine.order("wave", input=Wave(("a", "b", "c"), 2))
    engine.start()
    await eventually(lambda: len(ledger.there) == 2)
    await engine.cancel(wave)
    await engine.ended(wave, S.CANCELLED)
    async with engine.database.reading() as uow:
        page = await list_jobs(uow, EVERYTHING, PageRequest(100), parent_id=wave)
    assert {job.state for job in page.items} == {S.CANCELLED}
    assert (ledger.there, order) == ({}, ["server", "server", "wave"])


async def test_a_job_that_waits_until_fewer_run_goes_on_with_the_first_that_ends(engine: Engine) -> None:
    gates = {name: asyncio.Event() for name in ("a", "b", "c")}
    seen: list[int] = []

    async def lead(context: Context) -> None:
        for name in gates:
            await context.spawn("server", Order(PROJECT, input=name), name)
        standing = sum(child.state in STANDING for child in await context.children())
        seen.append(standing)
        if standing:
            context.wait_until_fewer(standing)

    async def run(context: Context) -> None:
        await gates[context.input(str)].wait()

    engine.add(JobKind("wave", (Step("servers", Place.CONTROL, lead),)))
    engine.add(JobKind("server", (Step("only", Place.VOLUMES, run),)))
    wave = await engine.order("wave")
    engine.start(Place.CONTROL, Place.VOLUMES)
    for left, gate in zip((2, 1), ("b", "a"), strict=False):
        await engine.until(wave, lambda row: row.is_parked and not row.holder)
        gates[gate].set()
        await eventually(lambda left=left: seen[-1] == left)  # type: ignore[misc]
    gates["c"].set()
    await engine.ended(wave, S.SUCCEEDED)
    assert seen == [3, 2, 1, 0]
    assert (await engine.texts(wave)).count("step servers begins") == 1


async def test_what_is_made_with_a_child_stands_or_falls_with_it(engine: Engine) -> None:
    made: list[str] = []

    async def lead(context: Context) -> None:
        async def make(uow: UnitOfWork) -> Ordered:
            made.append(context.key)
            return Ordered("server", Order(PROJECT, input="a", subject="srv-1"))

        try:
            await context.spawn_made(make, "a")
            await context.spawn_made(make, "a")
            await context.spawn_made(make, "again")
        except JobStands as refusal:
            raise StepFailed("refused", code=refusal.code) from refusal

    async def run(context: Context) -> None:
        await asyncio.sleep(0)

    engine.add(JobKind("wave", (Step("servers", Place.CONTROL, lead),)))
    engine.add(JobKind("server", (Step("only", Place.VOLUMES, run),)))
    wave = await engine.order("wave")
    engine.start(Place.CONTROL)
    row = await engine.ended(wave, S.FAILED)
    assert (row.code, len(made)) == ("JOB_STANDS", 2)
    async with engine.database.reading() as uow:
        assert len((await list_jobs(uow, EVERYTHING, PageRequest(), parent_id=wave)).items) == 1


async def test_a_job_that_is_cancelled_while_it_is_being_taken_up_waits_for_its_children(
    engine: Engine,
) -> None:
    """The worker has seen that one child is over, and the operator cancels before it has the job."""

    async def lead(context: Context) -> None:
        for name in ("a", "b"):
            await context.spawn("server", Order(PROJECT, input=name), name)
        context.wait_until_fewer(2)

    async def run(context: Context) -> None:
        await asyncio.sleep(0 if context.input(str) == "a" else 3600)

    engine.add(JobKind("wave", (Step("servers", Place.CONTROL, lead),)))
    engine.add(JobKind("server", (Step("only", Place.VOLUMES, run),)))
    wave = await engine.order("wave")
    leader = engine.start(Place.CONTROL)
    await engine.until(wave, lambda row: row.is_parked and not row.holder)
    await leader.kill()
    engine.start(Place.VOLUMES)
    seat = Seat(Place.CONTROL, "node", "late")

    async def ready() -> list[claims.Candidate]:
        async with engine.database.reading() as uow:
            return await claims.candidates(uow, engine.jobs.kinds, seat)

    await eventually(lambda: _any(ready))
    (late,) = await ready()
    await engine.cancel(wave)
    with pytest.raises(claims.Blocked):
        await engine.database.run(lambda uow: claims.claim(uow, engine.jobs.course, late, seat))
    engine.start(Place.CONTROL)
    await engine.ended(wave, S.CANCELLED)
    async with engine.database.reading() as uow:
        page = await list_jobs(uow, EVERYTHING, PageRequest(), parent_id=wave)
    assert {job.state for job in page.items} == {S.SUCCEEDED, S.CANCELLED}


async def _any(read: Callable[[], Awaitable[list[claims.Candidate]]]) -> bool:
    return bool(await read())


async def test_the_kind_is_told_in_the_transaction_that_ends_a_job(engine: Engine) -> None:
    told: list[str] = []

    async def fail(context: Context) -> None:
        raise StepFailed("broken", code="BROKEN")

    async def ended(uow: UnitOfWork, job: EndedJob) -> None:
        told.append(f"{job.kind} {job.state} {job.input} {job.code}")

    step = Step("only", Place.CONTROL, fail, on_failure=OnFailure.UNDO)
    engine.add(JobKind("plain", (step,), ended))
    job = await engine.order("plain", input="web-1")
    engine.start()
    await engine.ended(job, S.FAILED)
    assert told == ["plain FAILED web-1 BROKEN"]


def test_a_limit_that_nobody_could_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="lets one job run"):
        Limit("x", 0)
