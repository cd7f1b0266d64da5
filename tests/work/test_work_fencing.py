"""Claims, leases and fences: one worker at a time, whatever dies, pauses or stops."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from app.contract.words import Place, WorkState
from app.kit.database import UnitOfWork
from app.kit.settings import WorkSettings
from app.work import claims, settling
from app.work.claims import Candidate, Seat
from app.work.context import Context
from app.work.course import MOST_DEATHS, Work
from app.work.crew import Crew
from app.work.errors import Fenced
from app.work.kinds import JobKind, Step
from app.work.leases import Sign
from app.work.outcomes import Done
from app.work.settling import Reported
from tests.work.engine import LEASE, LONG_LEASE, Engine, eventually
from tests.work.ledger import Ledger

S = WorkState


async def nothing(context: Context) -> None:
    """A step without an effect."""


async def claimed(engine: Engine, candidate: Candidate, holder: str) -> Work | None:
    seat = Seat(Place.CONTROL, "node", holder)
    return await engine.database.run(lambda uow: claims.claim(uow, engine.jobs.course, candidate, seat))


async def test_of_many_workers_that_saw_a_job_one_gets_it(engine: Engine) -> None:
    engine.add(JobKind("plain", (Step("only", Place.CONTROL, nothing),)))
    for _ in range(20):
        await engine.order("plain")
    async with engine.database.reading() as uow:
        seen = await claims.candidates(uow, engine.jobs.kinds, Seat(Place.CONTROL, "node", "any"))
    assert len(seen) == 20
    got: Counter[str] = Counter()

    async def worker(name: str) -> None:
        for candidate in seen:
            if await claimed(engine, candidate, name) is not None:
                got[candidate.sign.job_id] += 1

    await asyncio.gather(*(worker(f"w{number}") for number in range(5)))
    assert len(got) == 20
    assert set(got.values()) == {1}


async def test_the_late_result_of_a_worker_that_was_paused_is_refused(engine: Engine) -> None:
    engine.add(JobKind("plain", (Step("only", Place.CONTROL, nothing),)))
    job = await engine.order("plain")
    paused = await claimed(engine, Candidate(Sign(job, 0, 0), ""), "paused")
    assert paused is not None
    row = await engine.row(job)
    successor = await claimed(engine, Candidate(Sign(job, row.fence, row.beat), row.holder), "successor")
    assert successor is not None
    assert successor.claim.fence > paused.claim.fence
    assert successor.key == paused.key, "it names the same effect"

    async def settle(work: Work, result: str) -> None:
        async def late(uow: UnitOfWork) -> None:
            await settling.settle(uow, engine.jobs.course, work, Reported(Done(result)), lambda: 0.0)

        await engine.database.run(late)

    with pytest.raises(Fenced):
        await settle(paused, "late")
    await settle(successor, "right")
    with pytest.raises(Fenced):
        await settle(paused, "much too late")
    row = await engine.ended(job, S.SUCCEEDED)
    assert row.result == "right"


async def test_a_takeover_is_refused_when_the_holder_gave_a_sign_meanwhile(engine: Engine) -> None:
    engine.add(JobKind("plain", (Step("only", Place.CONTROL, nothing),)))
    job = await engine.order("plain")
    assert await claimed(engine, Candidate(Sign(job, 0, 0), ""), "first")
    row = await engine.row(job)
    assert await claimed(engine, Candidate(Sign(job, row.fence, row.beat - 1), "first"), "second") is None


async def test_the_job_of_a_dead_worker_is_taken_over(engine: Engine) -> None:
    ledger, is_there, may_end = Ledger(), asyncio.Event(), asyncio.Event()

    async def run(context: Context) -> None:
        ledger.make(context)
        is_there.set()
        await may_end.wait()

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    job = await engine.order("plain")
    first = engine.start(lease=LEASE)
    await is_there.wait()
    await first.kill()
    may_end.set()
    engine.start(lease=LEASE)
    row = await engine.ended(job, S.SUCCEEDED)
    key = f"{job}.only.0"
    assert ledger.made[key] == 1
    assert ledger.asked[key] == row.fence >= 2, "each claim ran it once more"


async def test_a_living_worker_keeps_its_job_beyond_its_lease(engine: Engine) -> None:
    may_end = asyncio.Event()

    async def run(context: Context) -> None:
        await may_end.wait()

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    job = await engine.order("plain")
    lease = replace(LEASE, seconds=4.0)
    engine.start(lease=lease)
    engine.start(lease=lease)
    row = await engine.until(job, lambda row: row.beat >= 6)
    assert row.fence == 1
    may_end.set()
    row = await engine.ended(job, S.SUCCEEDED)
    assert row.fence == 1


async def test_a_worker_that_cannot_give_signs_of_life_stops_its_step_in_time(engine: Engine) -> None:
    """The row is taken from under it, as by a successor; it hears of that and interrupts the step."""
    stopped, is_there = asyncio.Event(), asyncio.Event()

    async def run(context: Context) -> None:
        is_there.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    job = await engine.order("plain")
    engine.start()
    await is_there.wait()
    row = await engine.row(job)
    assert await claimed(engine, Candidate(Sign(job, row.fence, row.beat), row.holder), "successor")
    await stopped.wait()
    assert (await engine.row(job)).holder == "successor"


async def test_draining_gives_the_lease_back_so_that_another_goes_on_at_once(engine: Engine) -> None:
    begun: list[int] = []
    may_end = asyncio.Event()

    async def run(context: Context) -> None:
        begun.append(context.attempt)
        await may_end.wait()

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    job = await engine.order("plain")
    first = engine.start(lease=LONG_LEASE, drain_seconds=0.1)
    await eventually(lambda: len(begun) == 1)
    await first.drain()
    row = await engine.row(job)
    assert (row.holder, row.state) == ("", S.RUNNING)
    may_end.set()
    engine.start(lease=LONG_LEASE)
    await engine.ended(job, S.SUCCEEDED)
    assert begun == [1, 1], "an attempt that its process broke off does not count"


async def test_draining_lets_a_step_end_and_begins_no_other(engine: Engine) -> None:
    ran: list[str] = []
    may_end = asyncio.Event()

    async def run(context: Context) -> None:
        ran.append(context.step)
        await may_end.wait()

    engine.add(JobKind("plain", (Step("a", Place.CONTROL, run), Step("b", Place.CONTROL, run))))
    job = await engine.order("plain")
    first = engine.start()
    await eventually(lambda: ran == ["a"])
    draining = asyncio.create_task(first.drain())
    await asyncio.sleep(0)
    may_end.set()
    await draining
    assert (await engine.states(job), ran) == ([S.SUCCEEDED, S.PENDING], ["a"])


async def test_a_step_that_takes_its_workers_with_it_fails_at_last(engine: Engine) -> None:
    engine.add(JobKind("plain", (Step("only", Place.CONTROL, nothing),)))
    job = await engine.order("plain")
    for number in range(MOST_DEATHS + 1):
        row = await engine.row(job)
        candidate = Candidate(Sign(job, row.fence, row.beat), row.holder)
        work = await claimed(engine, candidate, f"victim-{number}")
        assert (work is None) == (number == MOST_DEATHS)
    row = await engine.ended(job, S.FAILED)
    assert row.code == "STEP_KEEPS_DYING"


async def test_what_a_step_writes_goes_with_its_fence(engine: Engine) -> None:
    refused = asyncio.Event()

    async def work(uow: UnitOfWork) -> None:
        raise AssertionError("a unit of a lost lease was begun")

    async def write_late(context: Context) -> None:
        row = await engine.row(context.job_id)
        sign = Sign(context.job_id, row.fence, row.beat)
        assert await claimed(engine, Candidate(sign, row.holder), "successor")
        try:
            await context.write(work)
        except Fenced:
            refused.set()

    async def run(context: Context) -> None:
        await asyncio.wait({asyncio.create_task(write_late(context))})  # goes on when the step is interrupted

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, run),)))
    job = await engine.order("plain")
    engine.start()
    await asyncio.wait_for(refused.wait(), 60)
    assert (await engine.row(job)).holder == "successor"


async def test_a_process_that_stops_gives_its_jobs_back(engine: Engine) -> None:
    places: list[str] = []

    async def run(context: Context) -> None:
        places.append(context.node)
        await asyncio.sleep(3600)

    engine.add(JobKind("plain", (Step("a", Place.CONTROL, nothing), Step("b", Place.VOLUMES, run))))
    job = await engine.order("plain")
    settings = WorkSettings(drain_seconds=0, node="rack-1")
    crew = Crew(engine.database, engine.jobs, settings, set(Place))
    stopping = asyncio.Event()
    crew.start(stopping)
    await eventually(lambda: places == ["rack-1"])
    stopping.set()
    await engine.until(job, lambda row: not row.holder)
    await crew.stop()
    row = await engine.row(job)
    assert (row.state, row.holder, await engine.states(job)) == (S.RUNNING, "", [S.SUCCEEDED, S.RUNNING])


async def test_a_process_without_seats_leaves_the_work_to_others(engine: Engine) -> None:
    engine.add(JobKind("plain", (Step("only", Place.VOLUMES, nothing),)))
    job = await engine.order("plain")
    without = Crew(engine.database, engine.jobs, WorkSettings(volume_steps=0, drain_seconds=0), set(Place))
    without.start(asyncio.Event())
    await asyncio.sleep(0.5)
    assert (await engine.row(job)).state == S.PENDING
    engine.start(Place.VOLUMES)
    await engine.until(job, lambda row: row.state == S.SUCCEEDED)
    await without.stop()
