"""The course of jobs: steps in order, results, failures, retries, cancelling with undo, final steps."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from app.contract.words import Place, WorkState
from app.kit.clock import ManualClock
from app.kit.database import UnitOfWork
from app.kit.errors import Unavailable
from app.work.context import Context
from app.work.course import MOST_DEATHS
from app.work.errors import JobNotAllowed, JobStands, JobSuperseded, StepFailed
from app.work.kinds import EndedJob, JobKind, OnFailure, Step
from app.work.pauses import MOST
from app.work.tables import JobStepRow
from tests.work.engine import Engine, eventually
from tests.work.ledger import Ledger

S = WorkState


@dataclass(frozen=True)
class Wanted:
    name: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Machine:
    address: str
    ports: tuple[int, ...]


def kind(ledger: Ledger, *names: str, **members: object) -> JobKind:
    """A kind whose steps make an effect and take it back."""

    async def run(context: Context) -> None:
        ledger.make(context)

    async def undo(context: Context) -> None:
        ledger.take_back(context)

    steps = (Step(name, Place.CONTROL, run, undo, **members) for name in names)  # type: ignore[arg-type]
    return JobKind("plain", tuple(steps))


def _has_tried(tries: list[int], times: int) -> bool:
    return len(tries) == times


async def test_steps_run_in_their_order_and_know_the_input_and_earlier_results(engine: Engine) -> None:
    async def launch(context: Context) -> Machine:
        wanted = context.input(Wanted)
        return Machine(f"10.0.0.1/{wanted.name}", wanted.ports)

    async def check(context: Context) -> str:
        machine = context.result("launch", Machine)
        context.log(f"looking at {machine.address}")
        context.progress(50, "half")
        return f"{machine.address} answers on {machine.ports}"

    steps = (Step("launch", Place.CONTROL, launch), Step("check", Place.CONTROL, check))
    engine.add(JobKind("test", steps))
    job = await engine.order("test", input=Wanted("web-1", (22, 80)), requested_by="ann")
    engine.start()
    row = await engine.ended(job, S.SUCCEEDED)
    assert row.result == "10.0.0.1/web-1 answers on (22, 80)"
    assert (row.progress, row.code, row.holder) == (100, None, "")
    assert await engine.texts(job) == [
        "the job was ordered by ann",
        "step launch begins",
        "step launch is done",
        "step check begins",
        "looking at 10.0.0.1/web-1",
        "step check is done",
        "the job is SUCCEEDED",
    ]


async def test_each_step_runs_where_it_must(engine: Engine) -> None:
    ran: list[str] = []

    def step(name: str, place: Place) -> Step:
        async def run(context: Context) -> None:
            ran.append(f"{name} on {context.node}")

        return Step(name, place, run)

    steps = (step("a", Place.CONTROL), step("b", Place.VOLUMES), step("c", Place.CONTROL))
    engine.add(JobKind("placed", steps))
    job = await engine.order("placed")
    engine.start(Place.CONTROL, node="api")
    await engine.until(job, lambda row: row.place == Place.VOLUMES and not row.holder)
    engine.start(Place.VOLUMES, node="agent")
    await engine.ended(job, S.SUCCEEDED)
    assert ran == ["a on api", "b on agent", "c on api"]


async def test_a_step_that_fails_is_tried_again_and_the_job_fails_when_it_goes_on_failing(
    engine: Engine, clock: ManualClock
) -> None:
    tries: list[int] = []

    async def run(context: Context) -> None:
        tries.append(context.attempt)
        raise Unavailable("the target is away", code="TARGET_AWAY", remedy="start it")

    engine.add(JobKind("failing", (Step("reach", Place.CONTROL, run, retries=2),)))
    job = await engine.order("failing")
    engine.start()
    for number in (1, 2):
        await eventually(partial(_has_tried, tries, number))
        row = await engine.until(job, lambda row: row.not_before is not None and not row.holder)
        assert row.state == S.RUNNING
        clock.advance(MOST)
    row = await engine.ended(job, S.FAILED)
    assert (row.code, row.detail, row.remedy) == ("TARGET_AWAY", "the target is away", "start it")
    assert tries == [1, 2, 3]


async def test_a_clock_that_was_set_back_does_not_stretch_a_pause(engine: Engine, clock: ManualClock) -> None:
    tries: list[int] = []

    async def run(context: Context) -> None:
        tries.append(context.attempt)
        if len(tries) == 1:
            raise Unavailable("not yet")

    engine.add(JobKind("patient", (Step("wait", Place.CONTROL, run),)))
    job = await engine.order("patient")
    engine.start()
    await engine.until(job, lambda row: row.not_before is not None and not row.holder)
    clock.advance(timedelta(days=-365))
    await engine.ended(job, S.SUCCEEDED)


async def test_a_failure_for_good_is_not_repeated_and_a_retry_goes_on_at_the_failed_step(
    engine: Engine,
) -> None:
    ledger, is_broken = Ledger(), True
    plan = kind(ledger, "first", "second", "third")

    async def run(context: Context) -> None:
        ledger.make(context)
        if is_broken:
            raise StepFailed("no bootloader", code="NO_BOOTLOADER", remedy="install one")

    steps = (plan.steps[0], Step("second", Place.CONTROL, run, plan.steps[1].undo), plan.steps[2])
    engine.add(JobKind("plain", steps))
    job = await engine.order("plain")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert (row.code, await engine.states(job)) == ("NO_BOOTLOADER", [S.SUCCEEDED, S.FAILED, S.PENDING])
    is_broken = False
    await engine.retry(job)
    row = await engine.ended(job, S.SUCCEEDED)
    assert (row.code, ledger.of(job)) == (None, {"first", "second", "third"})
    assert ledger.asked[f"{job}.first.0"] == 1
    assert set(ledger.made.values()) == {1}
    with pytest.raises(JobNotAllowed) as refused:
        await engine.retry(job)
    assert refused.value.extra["allowedOperations"] == []


async def test_a_failure_that_undoes_leaves_nothing_and_a_retry_begins_anew(engine: Engine) -> None:
    ledger, is_broken = Ledger(), True
    plan = kind(ledger, "first", "second", "third", on_failure=OnFailure.UNDO)

    async def run(context: Context) -> None:
        ledger.make(context)
        if is_broken:
            raise StepFailed("broken")

    second = Step("second", Place.CONTROL, run, plan.steps[1].undo, on_failure=OnFailure.UNDO)
    engine.add(JobKind("plain", (plan.steps[0], second, plan.steps[2])))
    job = await engine.order("plain")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert (row.code, ledger.of(job)) == ("STEP_FAILED", set())
    assert await engine.states(job) == [S.CANCELLED, S.FAILED, S.PENDING]
    is_broken = False
    await engine.retry(job)
    await engine.ended(job, S.SUCCEEDED)
    assert ledger.of(job) == {"first", "second", "third"}
    assert (ledger.made[f"{job}.first.0"], ledger.made[f"{job}.first.1"]) == (1, 1)


async def test_cancelling_tells_the_running_step_and_undoes_in_reverse(engine: Engine) -> None:
    ledger, undone, is_there = Ledger(), list[str](), asyncio.Event()
    plain = kind(ledger, "first", "second")

    async def run(context: Context) -> None:
        ledger.make(context)
        is_there.set()
        while True:
            context.check_cancelled()
            await asyncio.sleep(0.01)

    async def undo(context: Context) -> None:
        undone.append(context.step)
        ledger.take_back(context)

    steps = [Step(step.name, step.place, step.run, undo) for step in plain.steps]
    engine.add(JobKind("plain", (*steps, Step("endless", Place.CONTROL, run, undo))))
    job = await engine.order("plain")
    engine.start()
    await is_there.wait()
    await engine.cancel(job)
    await engine.cancel(job)
    await engine.ended(job, S.CANCELLED)
    assert (undone, ledger.there) == (["endless", "second", "first"], {})
    assert await engine.states(job) == [S.CANCELLED] * 3
    await engine.cancel(job)


async def test_a_step_that_does_not_listen_is_interrupted_after_its_grace(engine: Engine) -> None:
    is_there = asyncio.Event()

    async def run(context: Context) -> None:
        is_there.set()
        await asyncio.sleep(3600)

    engine.add(JobKind("deaf", (Step("sleep", Place.CONTROL, run),)))
    job = await engine.order("deaf")
    engine.start()
    await is_there.wait()
    await engine.cancel(job)
    await engine.ended(job, S.CANCELLED)


async def test_a_job_that_nobody_began_is_cancelled_at_once(engine: Engine) -> None:
    ledger = Ledger()
    engine.add(kind(ledger, "first"))
    job = await engine.order("plain")
    await engine.cancel(job)
    assert ((await engine.row(job)).state, ledger.asked) == (S.CANCELLED, {})


async def test_a_failed_job_can_be_cancelled_which_undoes_what_was_kept(engine: Engine) -> None:
    ledger = Ledger()
    plain = kind(ledger, "first")

    async def run(context: Context) -> None:
        raise StepFailed("broken")

    engine.add(JobKind("plain", (plain.steps[0], Step("second", Place.CONTROL, run))))
    job = await engine.order("plain")
    engine.start()
    await engine.ended(job, S.FAILED)
    assert ledger.of(job) == {"first"}
    await engine.cancel(job)
    await engine.ended(job, S.CANCELLED)
    assert ledger.there == {}


async def test_an_undo_that_fails_stops_there_and_a_retry_goes_on_undoing(engine: Engine) -> None:
    ledger, is_broken = Ledger(), True
    plain = kind(ledger, "first", "second")

    async def undo(context: Context) -> None:
        if is_broken:
            raise StepFailed("the volume is busy", remedy="stop its user")
        ledger.take_back(context)

    async def fail(context: Context) -> None:
        raise StepFailed("broken", code="BROKEN")

    second = Step("second", Place.CONTROL, plain.steps[1].run, undo)
    third = Step("third", Place.CONTROL, fail, on_failure=OnFailure.UNDO)
    engine.add(JobKind("plain", (plain.steps[0], second, third)))
    job = await engine.order("plain")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert row.code == "UNDO_FAILED"
    assert row.detail == "step second could not be undone: the volume is busy"
    assert ledger.of(job) == {"first", "second"}, "what came before may rest on it"
    is_broken = False
    await engine.retry(job)
    await engine.ended(job, S.FAILED)
    assert ledger.there == {}


async def test_nothing_is_undone_after_a_final_step(engine: Engine) -> None:
    ledger, is_there, go = Ledger(), asyncio.Event(), asyncio.Event()
    plain = kind(ledger, "first")

    async def run(context: Context) -> None:
        is_there.set()
        await go.wait()
        raise StepFailed("the machine does not answer", code="NO_ANSWER")

    final = Step("launch", Place.CONTROL, run, is_final=True, on_failure=OnFailure.UNDO)
    engine.add(JobKind("plain", (plain.steps[0], final)))
    job = await engine.order("plain")
    engine.start()
    await is_there.wait()
    with pytest.raises(JobNotAllowed):
        await engine.cancel(job)
    go.set()
    row = await engine.ended(job, S.FAILED)
    assert (row.code, ledger.of(job)) == ("NO_ANSWER", {"first"})


async def test_a_step_that_takes_too_long_fails_and_its_thread_has_ended_before(engine: Engine) -> None:
    threads: list[str] = []

    def block(context: Context) -> None:
        threads.append("begun")
        try:
            while True:
                context.check_cancelled()
        finally:
            threads.append("ended")

    async def run(context: Context) -> None:
        await context.thread(block, context)

    step = Step("long", Place.CONTROL, run, timeout=timedelta(seconds=0.2), retries=0)
    engine.add(JobKind("long", (step,)))
    job = await engine.order("long")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert (row.code, threads) == ("STEP_TIMEOUT", ["begun", "ended"])


async def test_a_subject_has_one_standing_job_and_its_earlier_ones_are_over_for_good(engine: Engine) -> None:
    async def fail(context: Context) -> None:
        raise StepFailed("broken")

    engine.add(JobKind("plain", (Step("only", Place.CONTROL, fail),)))
    first = await engine.order("plain", subject="srv-1")
    with pytest.raises(JobStands, match=first):
        await engine.order("plain", subject="srv-1")
    other = await engine.order("plain", subject="srv-2")
    engine.start()
    await engine.ended(first, S.FAILED)
    await engine.ended(other, S.FAILED)
    await engine.order("plain", subject="srv-1")
    with pytest.raises(JobSuperseded):
        await engine.retry(first)


async def test_an_unexpected_error_fails_the_job_with_what_it_was(engine: Engine) -> None:
    async def run(context: Context) -> None:
        raise ZeroDivisionError("by zero")

    engine.add(JobKind("broken", (Step("divide", Place.CONTROL, run, retries=0),)))
    job = await engine.order("broken")
    engine.start()
    row = await engine.ended(job, S.FAILED)
    assert (row.code, row.detail) == ("STEP_BROKE", "ZeroDivisionError: by zero")


async def test_a_job_that_cannot_be_taken_up_stops_no_other(engine: Engine) -> None:
    ledger = Ledger()

    async def broken(_uow: UnitOfWork, _job: EndedJob) -> None:
        raise RuntimeError("no end")

    async def run(context: Context) -> None:
        ledger.make(context)

    engine.add(JobKind("broken", (Step("a", Place.CONTROL, run),), broken))
    engine.add(kind(ledger, "a"))
    bad = await engine.order("broken", priority=10)
    async with engine.database.begin() as uow:
        (await uow.session.get_one(JobStepRow, (bad, 0))).attempts = MOST_DEATHS
    engine.start()
    await engine.ended(await engine.order("plain"), S.SUCCEEDED)
    assert (await engine.row(bad)).state == S.PENDING
