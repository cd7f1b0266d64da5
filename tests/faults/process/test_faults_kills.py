"""SIGKILL of the service and of the agent at their named persistence points, and at moments from a seed.

All points, and many more moments, are struck by ``python -m tests.torture.process``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.process import kills
from tests.faults.process.kills import Change
from tests.faults.process.orders import Order
from tests.faults.process.rig import Rig, rig
from tests.faults.process.seams import AGENT_POINTS, SERVICE_POINTS

pytestmark = pytest.mark.slow

SEED = 20261
RANDOM_KILLS = 8
CHANGE = Change(chunks=32)

AT_SERVICE = (
    Order("file.write.half", nth=3),
    Order("file.rename.before", nth=4),
    Order("pack.record.before", nth=2),
    Order("commit.transaction.after"),
    Order("database.commit.after", nth=4),
    Order("checkpoint.confirm.before"),
)
AT_AGENT = (
    Order("open.after"),
    Order("have.after"),
    Order("put.write.half", nth=2),
    Order("put.result.before"),
    Order("commit.before"),
    Order("commit.sent"),
    Order("state.rename.before"),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A service and a host that these tests share."""
    with rig(tmp_path_factory.mktemp("kills"), SEED) as made:
        made.enroll()
        yield made
        kills.end_service(made)


@pytest.fixture
def under_fire(shared: Rig) -> Rig:
    """The same, and whatever the test before did, the service runs."""
    shared.bury_service()
    shared.deployment.start()
    return shared


def test_the_points_of_these_tests_exist() -> None:
    assert {order.point for order in AT_SERVICE} <= set(SERVICE_POINTS)
    assert {order.point for order in AT_AGENT} <= set(AGENT_POINTS)


@pytest.mark.parametrize("order", AT_SERVICE, ids=str)
def test_a_service_killed_at_a_named_point(under_fire: Rig, order: Order) -> None:
    assert kills.kill_service_at(under_fire, order, CHANGE), "the service never came to the point"


@pytest.mark.parametrize("order", AT_AGENT, ids=str)
def test_an_agent_killed_at_a_named_point(under_fire: Rig, order: Order) -> None:
    assert kills.kill_agent_at(under_fire, order, CHANGE), "the agent never came to the point"


@pytest.mark.parametrize("number", range(RANDOM_KILLS))
def test_either_or_both_killed_at_a_moment_from_a_seed(under_fire: Rig, number: int) -> None:
    under_fire.rng.seed(SEED + number)
    kills.kill_at_random(under_fire, CHANGE, 2.0, kills.VICTIMS[number % 3])


def test_an_agent_killed_while_it_keeps_its_enrolment_is_enrolled_again(
    under_fire: Rig, tmp_path: Path
) -> None:
    host = kills.newcomer(under_fire, tmp_path)
    under_fire.agent_orders.give(Order("state.rename.before", nth=2))
    token = under_fire.deployment.install_token()
    done = host.attempt(
        "enroll", "--no-preflight", "--url", under_fire.deployment.agent_url, "--token", token
    )
    assert done.returncode == -9
    code, said = host.refused("run", "--once")
    assert (code, "NOT_ENROLLED" in said) == (1, True)
    host.enroll(under_fire.deployment, under_fire.disk)
    host.sync()
