"""A daemon, and a gateway, that were stopped over a whole checkpoint of another one and then go on."""

from collections.abc import Iterator

import pytest

from tests.faults.process import zombies
from tests.faults.process.rig import Rig, rig
from tests.faults.process.shapes import ZOMBIE, durable_mariadb, two_gateways
from tests.faults.process.stream_proxy import StreamProxy, stream_proxy

pytestmark = pytest.mark.slow

SEED = 20263


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A host with a first checkpoint."""
    with rig(tmp_path_factory.mktemp("zombies"), SEED, disk_mib=16) as made:
        made.enroll()
        made.host.sync()
        made.assert_replicated(0)
        yield made


@pytest.mark.parametrize("point", ["put.write.half", "commit.before"])
def test_a_daemon_that_went_on_after_another_took_over_begins_anew(replicated: Rig, point: str) -> None:
    """It is told by the commit, or before, where its put had waited for too long and was lost."""
    before = len(zombies.session_answers(replicated, "all"))
    zombies.haunt_as_daemon(replicated, point)
    replicated.assert_replicated(2)
    answers = zombies.session_answers(replicated, "all")[before:]
    assert 409 in {status for _, status in answers}
    commits = [status for path, status in answers if path.endswith("/commit")]
    assert [status for status in commits if status != 409] == [200, 200]
    assert commits[-1] == 200


def test_a_daemon_that_went_on_beside_a_live_one_ends_by_name(replicated: Rig) -> None:
    assert "DUPLICATE_AGENT" in zombies.haunt_beside_a_live_one(replicated, "commit.before")


@pytest.fixture(scope="module")
def haunted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, StreamProxy]]:
    """Two gateways on one database and one store, and a proxy that leads the agent to either of them."""
    with durable_mariadb() as server:
        shape = two_gateways(server.create_database())
        with (
            rig(tmp_path_factory.mktemp("gateways"), SEED, disk_mib=16, shape=shape) as made,
            stream_proxy(made.deployment.ports[ZOMBIE], SEED) as proxy,
        ):
            made.enroll(proxy.url)
            made.host.sync()
            made.assert_replicated(0)
            yield made, proxy


@pytest.mark.service
@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("checkpoint.write.after", [409]),
        ("commit.transaction.after", [409]),
        ("checkpoint.confirm.before", [200]),
    ],
)
def test_a_gateway_that_went_on_after_another_made_a_checkpoint_changes_nothing(
    haunted: tuple[Rig, StreamProxy], point: str, told: list[int]
) -> None:
    """One that stopped inside its transaction loses it: the database ends what stands idle. One that had
    committed already answers so."""
    assert zombies.haunt_as_gateway(*haunted, point) == told
