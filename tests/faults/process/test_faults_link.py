"""Faults of the network between agent and service: no bad byte is stored, the agent recovers by itself."""

from collections.abc import Iterator

import pytest

from tests.faults.process.link_faults import LinkRig, Recovery, link_rig
from tests.faults.process.stream_proxy import LOSSLESS, Harm, Plague

pytestmark = pytest.mark.slow

SEED = 20262
MIB = 1 << 20
PLAGUES = (
    Plague(Harm.CUT),
    Plague(Harm.HALF_OPEN, every=2 * MIB),
    Plague(Harm.CAP, rate=4 * MIB),
    Plague(Harm.DELAY),
    Plague(Harm.FLIP, every=MIB // 4),
    Plague(Harm.TRUNCATE),
    Plague(Harm.LOSE),
    Plague(Harm.DUPLICATE),
    Plague(Harm.REORDER),
)


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkRig]:
    """A daemon that replicates through a proxy; these tests share it."""
    with link_rig(tmp_path_factory.mktemp("link"), SEED) as made:
        yield made


@pytest.mark.parametrize("plague", PLAGUES, ids=lambda plague: str(plague.harm))
def test_a_link_that_heals_is_used_again(linked: LinkRig, plague: Plague) -> None:
    recovery: Recovery = linked.suffer(plague, seconds=30, chunks=32)
    assert recovery.strikes or plague.harm in LOSSLESS, "the proxy did no harm: nothing was tested"
