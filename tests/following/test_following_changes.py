"""The disks of a host come and go, and what tracks them may fail at that: the agent goes on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.agent.daemon.disk.selection import SourceDisk, close_disks, open_disks
from app.agent.daemon.errors import TrackingError
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.tracking.disks import TrackedDisk
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.wire.chunks import MIB
from tests.services.loop_disks import loop_disk

pytestmark = pytest.mark.root


class FaultyTracker(TraceTracker):
    """Cannot change what it tracks while `is_faulty`."""

    is_faulty = False

    def track(self, disks: Sequence[TrackedDisk]) -> None:
        super().track(disks)
        if self.is_faulty:
            raise TrackingError("the trace instance cannot be set up")


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[SourceDisk, ...]]:
    with loop_disk(tmp_path / "one.img", 16 * MIB) as one, loop_disk(tmp_path / "two.img", 16 * MIB) as two:
        opened = open_disks((str(one.device), str(two.device)))
        yield opened
        close_disks(opened)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[FaultyTracker]:
    made = FaultyTracker(tmp_path / "run")
    yield made
    made.close(keep=False)


def test_a_tracker_that_failed_at_a_change_keeps_no_heartbeat_from_being_sent(
    tmp_path: Path, tracker: FaultyTracker, disks: tuple[SourceDisk, ...]
) -> None:
    """The backlog of a disk that is not tracked any more was asked for, in vain, before each heartbeat."""
    one, two = (disk.disk.key for disk in disks)
    follower = Follower(tmp_path / "run", tracker)
    assert follower.follow(disks) == {one, two}
    tracker.is_faulty = True
    assert follower.follow(disks[:1]) == frozenset()
    assert (follower.backlog, follower.written_bytes) == ({}, 0)
    tracker.is_faulty = False
    assert follower.follow(disks) == {one, two}
    assert set(follower.backlog) == {one, two}
    follower.close(keep=False)


def test_disks_that_come_back_after_all_were_gone_are_followed_again(
    tmp_path: Path, tracker: FaultyTracker, disks: tuple[SourceDisk, ...]
) -> None:
    follower = Follower(tmp_path / "run", tracker)
    assert len(follower.follow(disks)) == 2
    assert follower.follow(()) == frozenset()
    assert len(follower.follow(disks)) == 2
    assert all(tracker.gap_of(disk.disk.key) for disk in disks), "what was written meanwhile is not known"
    follower.close(keep=False)
    assert not tracker.instance.exists


def test_a_tracker_that_could_not_be_ended_begins_anew(
    tmp_path: Path, tracker: FaultyTracker, disks: tuple[SourceDisk, ...]
) -> None:
    """One that went on without its buffers would see no write, and say that none was missed."""
    follower = Follower(tmp_path / "run", tracker)
    follower.follow(disks)
    with (tracker.instance.path / "per_cpu/cpu0/trace_pipe_raw").open("rb"):
        with pytest.raises(TrackingError, match="cannot be removed"):
            follower.close(keep=False)
        assert follower.follow(disks) == frozenset()
    assert len(follower.follow(disks)) == 2
    follower.close(keep=False)
