"""A test whose worker is killed in every step in turn: others go on, and in the end there is one machine."""

from functools import partial

import pytest

from app.contract.words import LifecycleState, Place, TestState, WorkState
from app.migration.launch.kinds import SERVER_TEST
from app.work.tables import JobRow
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.lifecycle.conftest import Rig
from tests.work.engine import LEASE, Started

pytestmark = pytest.mark.slow


def workers(rig: Rig) -> list[Started]:
    """A worker of each place that is missed within a second."""
    before = len(rig.engine.started)
    rig.engine.start(Place.CONTROL, Place.VOLUMES, lease=LEASE)
    return rig.engine.started[before:]


def _is_there(number: int, row: JobRow) -> bool:
    return row.step >= number or row.finished_at is not None


async def killed_in_every_step(rig: Rig, job: str) -> None:
    """Kill the workers once in each step of the job, and let the last ones end it."""
    steps = len(rig.services.kinds.get(SERVER_TEST).steps)
    for number in range(steps):
        started = workers(rig)
        row = await rig.engine.until(job, partial(_is_there, number))
        for each in started:
            await each.kill()
        if row.finished_at is not None:
            return
    rig.work()


async def test_a_test_goes_on_with_the_same_machine(rig: Rig) -> None:
    agent = await rig.server(talking_disk())
    job = await rig.order(agent.server)
    await killed_in_every_step(rig, job)
    await rig.engine.ended(job, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert (test.passed, test.state) == (True, TestState.RUNNING)
    runs, volumes = rig.on_node()
    assert (runs, len(volumes)) == ([test.id], 1)
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.TESTING


async def test_a_failed_boot_is_cleaned_up_by_whoever_is_left(rig: Rig) -> None:
    agent = await rig.server(dead_disk())
    job = await rig.order(agent.server)
    await killed_in_every_step(rig, job)
    row = await rig.engine.ended(job, WorkState.FAILED)
    assert row.code == "NO_BOOTABLE_DEVICE"
    assert rig.on_node() == ([], [])
    await rig.engine.retry(job)
    await rig.engine.ended(job, WorkState.FAILED)
    newest, oldest = await rig.tests(agent.server)
    assert (newest.passed, oldest.passed, newest.job_id) == (False, False, job)
    assert rig.on_node() == ([], [])
