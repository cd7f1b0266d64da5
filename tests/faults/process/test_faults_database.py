"""The database dies, is cut off at COMMIT, turns read-only, makes others deadlock: no checkpoint is lost or
doubled, and work goes on within seconds of its return."""

from collections.abc import Iterator

import pytest

from tests.faults.process import database_faults
from tests.faults.process.commit_cutter import Moment
from tests.faults.process.database_faults import CHECKPOINT, PACK, SESSION, DatabaseRig
from tests.faults.process.zombies import commits_answered

pytestmark = [pytest.mark.slow, pytest.mark.service]

SEED = 20264


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseRig]:
    """A replicated host whose service reaches its database through a proxy that can cut at COMMIT."""
    with database_faults.database_rig(tmp_path_factory.mktemp("database"), SEED) as made:
        yield made


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(
    "text", [CHECKPOINT, PACK, SESSION], ids=["of the checkpoint", "of a pack", "of the session"]
)
def test_a_connection_cut_at_the_commit(on: DatabaseRig, text: bytes, moment: Moment) -> None:
    answered = len(commits_answered(on.rig, "all"))
    database_faults.cut_at_commit(on, moment, text, chunks=8)
    is_repeated = (text, moment) == (CHECKPOINT, Moment.BEFORE)
    assert commits_answered(on.rig, "all")[answered:] == ([503, 200] if is_repeated else [200])


def test_a_deadlock_is_repeated(on: DatabaseRig) -> None:
    lost = database_faults.deadlock(on, chunks=8, rounds=20)
    assert lost, "the service was in no deadlock: nothing was tested"


def test_a_database_that_is_killed_and_comes_back(on: DatabaseRig) -> None:
    with on.rig.daemon():
        for _ in range(2):
            database_faults.kill_database(on, chunks=64)


def test_a_database_that_takes_no_writes_for_a_while(on: DatabaseRig) -> None:
    with on.rig.daemon():
        database_faults.make_read_only(on, chunks=32)
