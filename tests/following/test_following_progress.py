"""How far a pass over what was written has got is measured by what was written."""

from pathlib import Path

import pytest

from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.wire.chunks import CHUNK_SIZE
from tests.e2e.deployment import Deployment
from tests.following.live_host import MIB, live_host
from tests.following.raw_disk import BLOCK, write_blocks
from tests.services.loop_disks import loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZE = 512 * MIB
PER_CHUNK = CHUNK_SIZE // BLOCK


@pytest.mark.parametrize("chunks", [20, 200], ids=["read in the cut", "read in a round"])
def test_a_pass_is_through_when_what_was_written_is(
    chunks: int, service: Deployment, place: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[DiskPass] = []
    with (
        loop_disk(images / "disk.img", SIZE) as disk,
        live_host(place, service, [disk], images) as host,
    ):
        observer = host.synchroniser._observer
        monkeypatch.setattr(observer, "pass_begins", begun.extend)
        host.sync()
        assert (begun[0].tally.work, begun[0].tally.done) == (SIZE, SIZE)
        host.sync()
        begun.clear()
        write_blocks(disk.device, range(0, chunks * PER_CHUNK, PER_CHUNK), seed=1)
        host.sync()
        (tally,) = (each.tally for each in begun)
        assert (tally.work, tally.done) == (chunks * CHUNK_SIZE, chunks * CHUNK_SIZE)
        assert tally.untouched == SIZE
