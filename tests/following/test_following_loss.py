"""A lost event is noticed where it can be, told, and repaired by reading the disk as a whole."""

from pathlib import Path

import pytest

from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.tracking.writes import Write
from tests.e2e.deployment import Deployment, until
from tests.following.live_host import MIB, live_host, share
from tests.following.raw_disk import BLOCK, fill, write_blocks
from tests.following.replicas import (
    checkpoint,
    differences_now,
    disk_of,
    export,
)
from tests.services.loop_disks import loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZE = 64 * MIB
CHUNK = 64
"""Blocks of a chunk: a write that is lost beside another one of the same chunk does no harm."""


class DropOneIn:
    """A sieve: of `every` writes one is lost without a trace."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.seen = 0

    def __call__(self, write: Write) -> bool:
        self.seen += 1
        return self.seen % self._every != 0


def test_events_dropped_unseen_leave_a_wrong_replica_until_a_rescan_is_ordered(
    service: Deployment, place: Path, images: Path
) -> None:
    sieve = DropOneIn(1000)
    with (
        loop_disk(images / "disk.img", 512 * MIB) as disk,
        live_host(place, service, [disk], images, lambda run: TraceTracker(run, sieve=sieve)) as host,
    ):
        host.sync()
        sieve.seen = 0
        write_blocks(disk.device, range(0, 512 * MIB // BLOCK, CHUNK), seed=1)
        host.sync()
        assert sieve.seen >= 2000
        assert differences_now(service, host, place) != {}
        assert host.follower.take_codes() == [""]
        host.sync(order="x")
        assert host.follower.take_codes() == ["RESCAN_ORDERED"]
        assert differences_now(service, host, place) == {}


def test_an_overrun_is_a_gap_that_the_next_pass_closes_by_a_rescan(
    service: Deployment, place: Path, images: Path
) -> None:
    with (
        loop_disk(images / "disk.img", SIZE) as disk,
        live_host(place, service, [disk], images, lambda run: TraceTracker(run, buffer_kib=4)) as host,
    ):
        fill(disk.device, SIZE)
        host.sync()
        before = checkpoint(service, host.server)
        share(disk.backing, images / "before.img")
        overrun(host.tracker, str(disk.device), disk.device)
        late = export(service, before, disk_of(before, disk), place / "late.img")
        assert late.read_bytes() == (images / "before.img").read_bytes()
        host.sync()
        assert host.follower.take_codes() == ["", "TRACKER_GAP"]
        assert differences_now(service, host, place) == {}
        write_blocks(disk.device, range(10), seed=3)
        assert host.sync().counters.read < SIZE // 4
        assert host.follower.take_codes() == []
        assert differences_now(service, host, place) == {}


def overrun(tracker: TraceTracker, key: str, device: Path) -> None:
    """Write until the tracker's buffers were full."""
    seed = iter(range(1, 1000))

    def has_gap() -> bool:
        write_blocks(device, range(0, 8000, 2), next(seed))
        tracker.drain()
        return "events" in tracker.gap_of(key)

    until(has_gap, 60, "the trace buffers were full")


def test_a_write_behind_the_trackers_back_is_noticed_and_mended_in_the_same_synchronisation(
    service: Deployment, place: Path, images: Path
) -> None:
    with (
        loop_disk(images / "disk.img", SIZE) as disk,
        live_host(place, service, [disk], images) as host,
    ):
        fill(disk.device, SIZE)
        host.sync()
        head = host.sync().number
        with disk.backing.open("r+b") as behind:
            behind.seek(5 * BLOCK)
            behind.write(b"nobody saw this")
        write_blocks(disk.device, [9], seed=1)
        assert host.sync().number == head + 1
        assert host.follower.take_codes() == ["", "TRACKER_GAP"]
        assert any("differs from the replica where no write was seen" in note for note in host.notes)
        assert differences_now(service, host, place) == {}
