"""Runs of waves on each database: the right order, the right limits, and what becomes of failures."""

from itertools import pairwise

import pytest

from app.contract.paging import EVERYTHING
from app.contract.wavewords import AbortMode, RunServerState, WaveOperation
from app.contract.words import LifecycleState, Place, WorkState
from app.migration.servers.service import find_in_scope
from app.migration.waves.errors import NoRun, NothingToRun, RunStands
from tests.waves.conftest import Rig
from tests.work.engine import LEASE, eventually

S = RunServerState
W = WorkState
SHOP = {"db-1": 1, "db-2": 1, "app-1": 2, "app-2": 2, "web-1": 3, "web-2": 3, "web-3": 3}
MAIL = {f"mail-{number}": 1 for number in range(5)}
FRONT = {f"front-{number}": 1 for number in range(8)}


async def twenty(rig: Rig, at_once: int = 4) -> None:
    """A wave of 20 servers: a front that comes after a shop of three groups, and mail that stands alone."""
    await rig.application("shop", SHOP)
    await rig.application("front", FRONT, after=["shop"])
    await rig.application("mail", MAIL)
    await rig.wave("front", "shop", "mail", at_once=at_once)


def work(rig: Rig) -> None:
    rig.engine.start(Place.CONTROL, seats=2)
    rig.engine.start(Place.VOLUMES, seats=8)
    rig.engine.start(Place.VOLUMES, seats=8)


def in_order(rig: Rig) -> bool:
    """Whether nobody began before what it comes after was over."""
    groups = [[name for name, group in SHOP.items() if group == number] for number in (1, 2, 3)]
    groups.append(list(FRONT))
    return all(
        set(before) <= rig.record.over_before[then]
        for before, after in pairwise(groups)
        for then in after
        if then in rig.record.over_before
    )


async def test_twenty_servers_come_in_order_four_at_once(rig: Rig) -> None:
    await twenty(rig)
    rig.record.held = {*SHOP, *MAIL}
    job = await rig.order()
    work(rig)
    await eventually(lambda: len(rig.record.now) == 4)
    assert rig.record.now == {"db-1", "db-2", "mail-0", "mail-1"}
    rig.record.held = set()
    row = await rig.engine.ended(job, W.SUCCEEDED)
    assert row.result == {"servers": 20, "succeeded": 20, "unchanged": 0}
    record = rig.record
    assert (len(record.over), record.most, set(record.runs.values())) == (20, 4, {1})
    assert in_order(rig)
    run = await rig.run(job)
    assert [(each.state, each.servers) for each in run.counts] == [(S.SUCCEEDED, 20)]
    assert [each.position for each in run.servers] == list(range(1, 21))
    assert (run.attempt, run.state, run.requested_by) == (1, W.SUCCEEDED, "ann")
    assert all(each.job_id and each.seconds is not None for each in run.servers)
    texts = await rig.engine.texts(job)
    assert "db-1 is SUCCEEDED" in texts
    assert texts.count("step servers begins") == 1


async def test_one_failure_stops_nobody_but_those_that_come_after_it(rig: Rig) -> None:
    await twenty(rig)
    rig.record.broken = {"app-1"}
    job = await rig.order()
    work(rig)
    row = await rig.engine.ended(job, W.FAILED)
    assert row.code == "SERVERS_FAILED"
    assert "1 FAILED" in str(row.detail)
    assert "app-1 (NO_BOOTLOADER)" in str(row.detail)
    states = await rig.states()
    skipped = {name for name, state in states.items() if state is S.SKIPPED}
    assert skipped == {*(name for name, group in SHOP.items() if group == 3), *FRONT}
    assert {name for name, state in states.items() if state is S.SUCCEEDED} == {
        "db-1",
        "db-2",
        "app-2",
        *MAIL,
    }
    run = {each.server.name: each for each in (await rig.run()).servers}
    assert (run["app-1"].code, run["app-1"].remedy) == ("NO_BOOTLOADER", "install one")
    assert run["web-1"].detail == "it comes after app-1, which is FAILED"
    assert run["front-0"].code == "COMES_AFTER_FAILED"


async def test_a_retry_does_what_is_not_done_and_nothing_twice(rig: Rig) -> None:
    await twenty(rig)
    rig.record.broken = {"app-1", "mail-3"}
    job = await rig.order()
    work(rig)
    await rig.engine.ended(job, W.FAILED)
    rig.record.broken = {"mail-3"}
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.FAILED)
    run = await rig.run(job)
    assert (run.attempt, {each.server.name for each in run.servers if each.state is S.FAILED}) == (
        2,
        {"mail-3"},
    )
    rig.record.broken = set()
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.SUCCEEDED)
    begun = rig.record.begun
    assert {name: begun.count(name) for name in set(begun)} == {
        **dict.fromkeys((*SHOP, *MAIL, *FRONT), 1),
        "app-1": 2,
        "mail-3": 3,
    }
    assert len(rig.record.over) == 20
    run = await rig.run(job)
    assert {each.server.name: each.attempt for each in run.servers if each.attempt != 1} == {
        **{name: 2 for name, group in SHOP.items() if group == 3 or name == "app-1"},
        **dict.fromkeys(FRONT, 2),
        "mail-3": 3,
    }


async def test_a_failed_job_whose_work_was_kept_goes_on_where_it_stands(rig: Rig) -> None:
    await rig.application("mail", MAIL)
    await rig.wave("mail")
    rig.record.broken = {"mail-1", "mail-2"}
    job = await rig.order(WaveOperation.TERMINATE_TEST)
    work(rig)
    await rig.engine.ended(job, W.FAILED)
    failed = {each.server.name: each.job_id for each in (await rig.run()).servers if each.state is S.FAILED}
    assert set(failed) == rig.record.broken
    rig.record.broken = {"mail-1"}
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.FAILED)
    rig.record.broken = set()
    later = await server_id(rig, "mail-1")
    other = await rig.engine.order("server.small", input="mail-1", subject=later)
    await rig.engine.ended(other, W.SUCCEEDED)
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.SUCCEEDED)
    run = {each.server.name: each for each in (await rig.run()).servers}
    assert (run["mail-2"].job_id, run["mail-2"].attempt) == (failed["mail-2"], 1)
    assert run["mail-1"].attempt == 3, "the server had a later job, so another one was ordered"
    assert sorted(rig.record.prepared) == sorted([*MAIL, "mail-1"])


async def test_so_many_failures_stop_the_wave_and_what_runs_ends(rig: Rig) -> None:
    names = [f"web-{number}" for number in range(8)]
    await rig.application("web", dict.fromkeys(names, 1))
    await rig.wave("web", at_once=2, stop_after=2)
    rig.record.broken = {"web-1", "web-2", "web-7"}
    job = await rig.order()
    work(rig)
    await rig.engine.ended(job, W.FAILED)
    states = await rig.states()
    assert (states["web-0"], states["web-1"], states["web-2"]) == (S.SUCCEEDED, S.FAILED, S.FAILED)
    assert states["web-7"] is S.SKIPPED
    run = await rig.run()
    assert {each.code for each in run.servers if each.state is S.SKIPPED} == {"TOO_MANY_FAILURES"}
    rig.record.broken = set()
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.SUCCEEDED)


@pytest.mark.parametrize("mode", list(AbortMode))
async def test_an_aborted_run_begins_no_more_and_can_be_gone_on_with(rig: Rig, mode: AbortMode) -> None:
    await twenty(rig)
    rig.record.held = {"mail-0", "mail-1"}
    job = await rig.order()
    work(rig)
    await eventually(lambda: {"mail-0", "mail-1"} <= rig.record.now)
    assert await rig.abort(mode) == job
    begun = {name for name, state in (await rig.states()).items() if state in (S.RUNNING, S.SUCCEEDED)}
    await rig.abort(mode)
    if mode is AbortMode.LET:
        rig.record.held = set()
    row = await rig.engine.ended(job, W.FAILED)
    assert row.code == "RUN_ABORTED"
    assert set(rig.record.begun) <= begun
    states = await rig.states()
    assert states["mail-0"] is (S.SUCCEEDED if mode is AbortMode.LET else S.CANCELLED)
    assert states["front-7"] is S.SKIPPED
    run = await rig.run()
    assert (run.abort, run.servers[-1].code) == (mode, "RUN_ABORTED")
    with pytest.raises(NoRun):
        await rig.abort(mode)
    rig.record.held = set()
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.SUCCEEDED)
    assert (await rig.run()).abort is None
    assert len(set(rig.record.over)) == 20
    assert in_order(rig)


async def test_a_cancelled_run_cancels_its_servers_and_says_so(rig: Rig) -> None:
    await twenty(rig)
    rig.record.held = {"mail-0"}
    job = await rig.order()
    work(rig)
    await eventually(lambda: "mail-0" in rig.record.now)
    await rig.engine.cancel(job)
    await rig.engine.ended(job, W.CANCELLED)
    states = await rig.states()
    assert (states["mail-0"], states["front-7"]) == (S.CANCELLED, S.SKIPPED)
    assert S.WAITING not in states.values()


async def test_a_server_that_is_busy_is_refused_and_one_that_is_done_is_left_alone(rig: Rig) -> None:
    await rig.application("shop", SHOP)
    await rig.wave("shop")
    await rig.lead("db-1", LifecycleState.CUTOVER)
    other = await rig.order_application("shop")
    with pytest.raises(RunStands):
        await rig.order()
    await rig.engine.cancel(other)
    rig.record.held = {"db-2"}
    work(rig)
    busy = await rig.engine.order("server.small", input="db-2", subject=await server_id(rig, "db-2"))
    await eventually(lambda: "db-2" in rig.record.now)
    job = await rig.order()
    with pytest.raises(RunStands):
        await rig.order_application("shop")
    await rig.engine.ended(job, W.FAILED)
    run = {each.server.name: each for each in (await rig.run()).servers}
    assert (run["db-1"].state, run["db-1"].detail) == (S.UNCHANGED, "it is CUTOVER already")
    assert (run["db-2"].state, run["db-2"].code) == (S.REFUSED, "JOB_STANDS")
    assert run["app-1"].state is S.SKIPPED
    rig.record.held = set()
    await rig.engine.ended(busy, W.SUCCEEDED)
    await rig.engine.retry(job)
    await rig.engine.ended(job, W.SUCCEEDED)
    assert (await rig.engine.row(job)).result == {"servers": 7, "succeeded": 6, "unchanged": 1}


async def server_id(rig: Rig, name: str) -> str:
    """The id of a server."""
    async with rig.services.database.reading() as uow:
        return (await find_in_scope(uow, EVERYTHING, name)).id


async def test_reverting_goes_the_other_way(rig: Rig) -> None:
    await rig.application("shop", SHOP)
    await rig.wave("shop", at_once=1)
    job = await rig.order(WaveOperation.REVERT)
    work(rig)
    await rig.engine.ended(job, W.SUCCEEDED)
    assert [SHOP[name] for name in rig.record.over] == [3, 3, 3, 2, 2, 1, 1]


async def test_applications_of_one_wave_share_its_limit(rig: Rig) -> None:
    await twenty(rig, 3)
    rig.record.held = {*SHOP, *MAIL, *FRONT}
    jobs = [await rig.order_application(name) for name in ("shop", "front", "mail")]
    work(rig)
    await eventually(lambda: len(rig.record.now) == 3)
    rig.record.held = set()
    for job in jobs:
        await rig.engine.ended(job, W.SUCCEEDED)
    assert rig.record.most == 3


async def test_a_wave_without_servers_has_nothing_to_run(rig: Rig) -> None:
    await rig.application("empty", {})
    await rig.wave("empty")
    with pytest.raises(NothingToRun):
        await rig.order()


@pytest.mark.slow
async def test_whoever_leads_a_run_may_be_killed_at_any_time(rig: Rig) -> None:
    await twenty(rig)
    rig.record.broken, rig.record.seconds = {"web-2"}, 0.1
    job = await rig.order()
    rig.engine.start(Place.VOLUMES, seats=8)
    for over in (1, 4, 9, 11):
        leader = rig.engine.start(Place.CONTROL, lease=LEASE)
        await eventually(lambda over=over: len(rig.record.over) >= over)  # type: ignore[misc]
        await leader.kill()
    rig.engine.start(Place.CONTROL, lease=LEASE)
    await rig.engine.ended(job, W.FAILED)
    assert (rig.record.most <= 4, set(rig.record.runs.values())) == (True, {1})
    assert in_order(rig)
    states = await rig.states()
    assert {name for name, state in states.items() if state is S.SKIPPED} == set(FRONT)
