"""A host in its own namespaces goes on writing while it is followed: each frozen checkpoint is what its disk
held at the freeze, its filesystem is clean, and its databases have every row that was acknowledged before.
"""

import time
from pathlib import Path

import pytest

from app.agent.daemon.following.delta import MOST_LEFT
from app.agent.daemon.sync import SyncResult
from app.wire.chunks import CHUNK_SIZE
from tests.e2e.deployment import Deployment
from tests.following.live_host import MIB, LiveHost, live_host, namespace_of_mounts, writing
from tests.following.replicas import differences, exported
from tests.following.workload import all_writers, assert_sound
from tests.services.loop_disks import loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.service]

CHECKPOINTS = 3
SECONDS_BETWEEN = 4.0
SCATTERED = 5 * MOST_LEFT // CHUNK_SIZE // 4
"""Chunks: more than a cut reads whole."""
PATIENCE_SECONDS = 60.0


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_writing_host_is_replicated_to_what_it_was_at_each_freeze(
    kind: str, service: Deployment, place: Path, images: Path, fresh_data: Path
) -> None:
    told: list[tuple[int, dict[str, int]]] = []
    with loop_disk(images / "disk.img", 768 * MIB) as disk:
        disk.format(kind)
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "pages", place / "mnt"),
            live_host(place, service, [disk], images) as host,
        ):
            with all_writers(process, place, fresh_data) as telling:
                host.freezer.telling = telling
                for _ in range(CHECKPOINTS):
                    time.sleep(SECONDS_BETWEEN)
                    result = host.sync_frozen()
                    assert differences(service, host, images) == {}
                    told.append((result.number, host.freezer.told))
            if kind != "btrfs":
                assert any(was_sparse(each) for each in passes_over_pages(host)), host.passes
                assert differences(service, host, images) == {}
            assert_followed(host)
        for number, before in told:
            assert_sound(exported(images, disk, number), kind, place, before)


def passes_over_pages(host: LiveHost) -> list[SyncResult]:
    """Until a frozen one, over nothing but single blocks in more chunks than a cut reads whole."""
    host.sync_frozen()
    before = len(host.passes)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (chunks := host.chunks_written()) < SCATTERED:
        assert time.monotonic() < deadline, f"{chunks} of {SCATTERED} chunks were written to"
        time.sleep(0.25)
    host.sync_frozen()
    return host.passes[before:]


def was_sparse(result: SyncResult) -> bool:
    """Whether hardly more was read than the blocks that were written. Btrfs writes blocks that belong to a
    file side by side, wherever they were."""
    return result.counters.patched > 0 and result.counters.read < 4 * result.counters.patched


def assert_followed(host: LiveHost) -> None:
    """Only the first pass read the whole disk, and nothing was lost."""
    assert host.follower.take_codes() == [""]
    assert [note for note in host.notes if "anew" in note or "whole" in note] == []
