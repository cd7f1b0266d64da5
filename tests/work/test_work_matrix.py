"""Every step repeated, every step failed in turn, and a kill at every commit: always the right end."""

import asyncio

import pytest

from app.contract.words import Place, WorkState
from app.work.attempt import Lease
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.kinds import JobKind, OnFailure, Step
from tests.work.engine import Engine, eventually
from tests.work.killing import KillingDatabase, When
from tests.work.ledger import Ledger

S = WorkState
LEASE = Lease(seconds=0.3, look_seconds=0.03, grace_seconds=0.1)
NAMES = ("prepare", "copy", "launch", "check")


class Plan:
    """Four steps with effects; one of them may fail, and each may be done twice over."""

    def __init__(self, *, failing: str = "", on_failure: OnFailure = OnFailure.UNDO, times: int = 1) -> None:
        self.ledger = Ledger()
        self.failing = failing
        self.times = times
        self.kind = JobKind(
            "plan",
            tuple(
                Step(name, Place.CONTROL, self.run, self.undo, retries=0, on_failure=on_failure)
                for name in NAMES
            ),
        )

    async def run(self, context: Context) -> str:
        for _ in range(self.times):
            self.ledger.make(context)
        if context.step == self.failing:
            raise StepFailed("as the test wants", code="WANTED")
        return context.step

    async def undo(self, context: Context) -> None:
        for _ in range(self.times):
            self.ledger.take_back(context)


@pytest.mark.parametrize("failing", NAMES)
@pytest.mark.parametrize("on_failure", list(OnFailure))
@pytest.mark.parametrize("times", [1, 2])
async def test_each_step_failed_in_turn(
    engine: Engine, failing: str, on_failure: OnFailure, times: int
) -> None:
    """With every run and every undo done twice, it is the same."""
    plan = Plan(failing=failing, on_failure=on_failure, times=times)
    engine.add(plan.kind)
    job = await engine.order("plan")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert row.code == "WANTED"
    begun = set(NAMES[: NAMES.index(failing) + 1])
    assert plan.ledger.of(job) == (set() if on_failure is OnFailure.UNDO else begun)
    plan.failing = ""
    await engine.retry(job)
    row = await engine.ended(job, S.SUCCEEDED)
    assert (plan.ledger.of(job), row.result) == (set(NAMES), "check")
    assert set(plan.ledger.made.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("failing", ["", "launch"])
async def test_a_kill_at_every_commit_changes_nothing_of_the_end(
    engine: Engine, when: When, failing: str
) -> None:
    plan = Plan(failing=failing)
    engine.add(plan.kind)
    at = 0
    while True:
        at += 1
        job = await engine.order("plan")
        mortal = KillingDatabase.on(engine.database, at, when)
        engine.start(lease=LEASE, database=mortal)
        await eventually(lambda mortal=mortal, job=job: _is_dead_or_done(engine, mortal, job))  # type: ignore[misc]
        await engine.started.pop().kill()
        if not mortal.is_dead:
            break
        engine.start(lease=LEASE)
        await engine.ended(job, S.FAILED if failing else S.SUCCEEDED)
        assert plan.ledger.of(job) == (set() if failing else set(NAMES))
        await engine.started.pop().kill()
    assert at > len(NAMES) + 1
    assert set(plan.ledger.made.values()) == {1}
    assert plan.ledger.refused == 0


async def _is_dead_or_done(engine: Engine, mortal: KillingDatabase, job: str) -> bool:
    return mortal.is_dead or (await engine.row(job)).finished_at is not None


@pytest.mark.slow
@pytest.mark.parametrize("when", list(When))
async def test_a_kill_at_every_commit_of_a_cancellation_leaves_nothing(engine: Engine, when: When) -> None:
    plan = Plan()
    is_there = asyncio.Event()

    async def wait(context: Context) -> None:
        is_there.set()
        while True:
            context.check_cancelled()
            await asyncio.sleep(0.01)

    engine.add(JobKind("plan", (*plan.kind.steps, Step("wait", Place.CONTROL, wait, plan.undo))))
    at = 0
    while True:
        at += 1
        is_there.clear()
        job = await engine.order("plan")
        first = engine.start(lease=LEASE)
        await is_there.wait()
        await engine.cancel(job)
        await first.kill()
        engine.started.clear()
        mortal = KillingDatabase.on(engine.database, at, when)
        engine.start(lease=LEASE, database=mortal)
        await eventually(lambda mortal=mortal, job=job: _is_dead_or_done(engine, mortal, job))  # type: ignore[misc]
        await engine.started.pop().kill()
        if not mortal.is_dead:
            break
        engine.start(lease=LEASE)
        await engine.ended(job, S.CANCELLED)
        assert plan.ledger.of(job) == set()
        await engine.started.pop().kill()
    assert at > len(NAMES)
    assert plan.ledger.there == {}
