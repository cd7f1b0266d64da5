"""The cutover crash matrix: real processes killed before and after each step's effect.

Always either back to a source that runs and is replicated, or forward to a machine that serves every
acknowledged row; never two active sides, never two machines, nothing left behind. All cells share one source:
each begins where the one before it has ended, so each is also the cutover after a disaster.
"""

from collections.abc import Iterator

import pytest

from app.client import cutovers
from app.contract.cutoverwords import CutoverState
from app.contract.resources.job import Job
from app.contract.words import LifecycleState, WorkState
from tests.e2e.cutover_scene import SECONDS, Sides
from tests.e2e.deployment import until
from tests.faults.cutover.cells import ALWAYS, FINALIZED, MATRIX, REVERTED, SOURCE, Cell, Way
from tests.faults.cutover.stage import SETTINGS, SILENCE_SECONDS, Stage, now, stage, strike
from tests.services.mariadb_server import MariaDb
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.service, pytest.mark.timeout(900)]

STOP = "G2C_CUTOVER__STOP_SECONDS"


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDb, redis_server: RedisServer
) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("matrix"), mariadb.create_database(), redis_server.settings()) as made:
        yield made


@pytest.fixture
def ready(shared: Stage) -> Stage:
    """The stage, whatever the cell before has left."""
    shared.recover()
    return shared


def play(stage: Stage, cell: Cell) -> None:
    """Play a cell, and see that it came to its end; at the end the source is ready for the next cutover."""
    since, is_alone = now(), cell.way in (Way.ALONE, Way.KEPT)
    stage.set(**{STOP: str(SILENCE_SECONDS) if is_alone else SETTINGS[STOP]})
    with stage.sides().watched() as sides:
        {
            Way.FORWARD: forward,
            Way.CANCELLED: cancelled,
            Way.ALONE: left_alone,
            Way.KEPT: kept,
        }[cell.way](stage, cell, sides)
    stage.assert_thawed(since)
    stage.keeper.require_killed(int(cell.victim == SOURCE))


def forward(stage: Stage, cell: Cell, sides: Sides) -> None:
    """It is killed and started again."""
    strike(stage.orders_of(cell.victim), cell.point)
    job = stage.ordered()
    stage.struck(cell.victim)
    stage.deployment.start()
    launched_and_reverted(stage, job, sides)


def launched_and_reverted(stage: Stage, job: Job, sides: Sides) -> None:
    """It gets to the machine; then it is taken back."""
    stage.scene.job(job, WorkState.SUCCEEDED)
    stage.assert_launched(sides)
    stage.reverted()
    stage.assert_back(sides, CutoverState.REVERTED)


def cancelled(stage: Stage, cell: Cell, sides: Sides) -> None:
    """The last step before the source is told to keep still meets a cancellation; then all is undone."""
    strike(stage.service_orders, "cutover.convert.before")
    job = stage.ordered()
    stage.struck("agent")
    stage.cancel(job)
    strike(stage.orders_of(cell.victim), cell.point)
    stage.deployment.start()
    stage.struck(cell.victim)
    stage.deployment.start()
    stage.scene.job(job, WorkState.CANCELLED)
    stage.assert_back(sides, CutoverState.UNDONE)
    assert sides.machines == set()


def left_alone(stage: Stage, cell: Cell, sides: Sides) -> None:
    """It stays away; the source has its services back all the same, and that cutover is over."""
    strike(stage.orders_of(cell.victim), cell.point)
    job = stage.ordered()
    stage.struck(cell.victim)
    until(stage.scene.source.is_active, SECONDS, "the source has its services back")
    stage.deployment.start()
    assert stage.scene.job(job, WorkState.FAILED).code is not None
    stage.assert_back(sides, CutoverState.UNDONE)
    assert sides.machines == set()


def kept(stage: Stage, cell: Cell, sides: Sides) -> None:
    """It stays away for longer than a source waits that does not keep still by order."""
    strike(stage.orders_of(cell.victim), cell.point)
    job = stage.ordered()
    stage.struck(cell.victim)
    with pytest.raises(AssertionError, match="not within"):
        until(stage.scene.source.is_active, 2.5 * SILENCE_SECONDS, "the source has its services back")
    stage.deployment.start()
    launched_and_reverted(stage, job, sides)


def each_struck(stage: Stage, cells: tuple[Cell, ...], job: Job) -> None:
    """One job, whose processes are killed at each point in turn."""
    for number, cell in enumerate(cells):
        stage.struck(cell.victim)
        if number + 1 < len(cells):
            strike(stage.orders_of(cells[number + 1].victim), cells[number + 1].point)
        stage.deployment.start()
    stage.scene.job(job, WorkState.SUCCEEDED)


@pytest.mark.parametrize("cell", ALWAYS, ids=str)
def test_whoever_dies_one_side_is_active_and_nothing_is_lost(ready: Stage, cell: Cell) -> None:
    play(ready, cell)


@pytest.mark.matrix
@pytest.mark.parametrize("cell", [cell for cell in MATRIX if cell not in ALWAYS], ids=str)
def test_whoever_dies_anywhere_one_side_is_active_and_nothing_is_lost(ready: Stage, cell: Cell) -> None:
    play(ready, cell)


@pytest.mark.matrix
def test_a_revert_whose_processes_are_killed_in_every_step_ends_the_machine_first(ready: Stage) -> None:
    with ready.sides().watched() as sides:
        ready.scene.job(ready.ordered(), WorkState.SUCCEEDED)
        ready.assert_launched(sides)
        strike(ready.service_orders, REVERTED[0].point)
        with ready.scene.client() as client:
            job = client.send(cutovers.revert(ready.scene.server))
        each_struck(ready, REVERTED, job)
        ready.assert_back(sides, CutoverState.REVERTED)


@pytest.mark.matrix
def test_a_finalize_whose_processes_are_killed_in_every_step_leaves_the_machine_alone(ready: Stage) -> None:
    """The last one: nothing follows on a server that was finalized."""
    with ready.sides().watched() as sides:
        ready.scene.job(ready.ordered(), WorkState.SUCCEEDED)
        strike(ready.service_orders, FINALIZED[0].point)
        with ready.scene.client() as client:
            job = client.send(cutovers.finalize(ready.scene.server))
        each_struck(ready, FINALIZED, job)
        assert ready.scene.lifecycle() is LifecycleState.CUTOVER
        assert (sides.both, ready.scene.source.is_active(), len(ready.machines())) == ([], False, 1)
