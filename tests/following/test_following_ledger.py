"""What an agent knows of the head after it was cut off at any point of a commit, and what it does then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.errors import RescanNeeded, TrackerGap
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.following.ledger import Entry, Ledger
from app.agent.daemon.tracking.bits import BLOCK
from app.wire.chunks import MIB
from app.wire.messages import DiskBase
from app.wire.tree import RootNode
from tests.following.fake_tracking import FakeTracking

SIZE = 256 * MIB
KEY = "disk"
UNIT = 256 * 1024


def entry(content: int, tracker: str = "boot/instance/1") -> Entry:
    """An entry for a disk of one leaf."""
    node = RootNode(SIZE, UNIT, bytes([content]) * 32)
    return Entry(root=node.hash.hex(), tree=node.encode().hex(), tracker=tracker)


OLD, NEW, OTHER = entry(1), entry(2), entry(3)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger whose head is OLD."""
    made = Ledger(tmp_path, KEY)
    made.ask(OLD)
    made.promote()
    return made


def test_before_a_commit_is_asked_for_the_head_is_known(ledger: Ledger) -> None:
    assert ledger.of(OLD.root) == (OLD, False)
    assert ledger.of(NEW.root) == (None, False)


def test_a_commit_that_did_not_come_through_leaves_the_old_head(ledger: Ledger) -> None:
    ledger.ask(NEW)
    assert ledger.of(OLD.root) == (OLD, False)
    assert ledger.of(NEW.root) == (None, False)


def test_a_commit_whose_answer_was_lost_is_the_head(ledger: Ledger) -> None:
    ledger.ask(NEW)
    assert ledger.of(NEW.root) == (NEW, True)
    assert ledger.of(NEW.root) == (NEW, False)
    assert ledger.of(OLD.root) == (None, False)


def test_a_commit_that_was_confirmed_is_the_head(ledger: Ledger) -> None:
    ledger.ask(NEW)
    ledger.promote()
    assert ledger.of(NEW.root) == (NEW, False)


def test_a_head_that_somebody_else_made_is_unknown(ledger: Ledger) -> None:
    ledger.ask(NEW)
    assert ledger.of(OTHER.root) == (None, False)


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-9], lambda _: b"", lambda raw: raw.replace(b"1", b"2")])
def test_a_damaged_ledger_is_no_ledger(
    spoil: Callable[[bytes], bytes], ledger: Ledger, tmp_path: Path
) -> None:
    (head,) = tmp_path.glob("*.head")
    head.write_bytes(spoil(head.read_bytes()))
    assert ledger.of(OLD.root) == (None, False)


def test_what_was_forgotten_is_unknown(ledger: Ledger) -> None:
    ledger.ask(NEW)
    ledger.forget()
    ledger.forget()
    assert ledger.of(OLD.root) == ledger.of(NEW.root) == (None, False)


@pytest.fixture
def tracking(tmp_path: Path) -> FakeTracking:
    """Tracking that began with the pass that made OLD."""
    made = FakeTracking(tmp_path, SIZE, KEY)
    made.restart(KEY)
    return made


@pytest.fixture
def follower(tmp_path: Path, tracking: FakeTracking, ledger: Ledger) -> Follower:
    """A follower whose head is OLD."""
    return Follower(tmp_path, tracking)


def base(of: Entry | None) -> DiskBase:
    """What the service says of the disk."""
    return DiskBase(key=KEY, disk_id="dsk-1", size=SIZE, chunk_size=UNIT, root=of.root if of else "")


def test_a_known_head_is_followed(follower: Follower) -> None:
    assert follower.plan(base(OLD), SIZE, "").entry == OLD


@pytest.mark.parametrize(
    ("head", "size", "order", "code"),
    [
        (None, SIZE, "", ""),
        (OLD, SIZE, "rescan-1", "RESCAN_ORDERED"),
        (OLD, SIZE + BLOCK, "", "DISK_LAYOUT_CHANGED"),
        (NEW, SIZE, "", "AGENT_RESTARTED"),
    ],
)
def test_what_is_not_known_is_read_as_a_whole_for_a_reason(
    head: Entry | None, size: int, order: str, code: str, follower: Follower, tracking: FakeTracking
) -> None:
    tracking.dirty_of(KEY).mark(0, BLOCK)
    plan = follower.plan(base(head), size, order)
    assert (plan.entry, plan.code) == (None, code)
    assert tracking.identity_of(KEY) == "boot/instance/2"
    assert not tracking.dirty_of(KEY).written()
    assert follower.plan(base(OLD), SIZE, "").entry is None


def test_a_gap_is_told(follower: Follower, tracking: FakeTracking) -> None:
    tracking.gaps[KEY] = "events were lost"
    plan = follower.plan(base(OLD), SIZE, "")
    assert (plan.entry, plan.code, plan.detail) == (None, "TRACKER_GAP", "events were lost")


def test_of_a_disk_that_changed_its_size_that_is_told_and_not_the_gap(
    follower: Follower, tracking: FakeTracking
) -> None:
    tracking.gaps[KEY] = "it is tracked since just now"
    assert follower.plan(base(OLD), SIZE + BLOCK, "").code == "DISK_LAYOUT_CHANGED"


@pytest.mark.parametrize(
    ("need", "code"),
    [
        (TrackerGap(KEY, Path("/dev/x"), "why"), "TRACKER_GAP"),
        (RescanNeeded(KEY, Path("/dev/x"), "why"), "REPLICA_DIFFERS"),
    ],
)
def test_a_doubt_leads_to_a_rescan(need: RescanNeeded, code: str, follower: Follower) -> None:
    follower.doubt(need)
    plan = follower.plan(base(OLD), SIZE, "")
    assert (plan.entry, plan.code, plan.detail) == (None, code, "why")
    assert not follower.has_doubts


def test_a_rescan_that_was_cut_off_keeps_its_reason(follower: Follower, tracking: FakeTracking) -> None:
    tracking.gaps[KEY] = "events were lost"
    first = follower.plan(base(OLD), SIZE, "")
    assert follower.plan(base(OLD), SIZE, "") == first
    assert follower.plan(base(OLD), SIZE, "rescan-1").code == "RESCAN_ORDERED"


def test_what_was_taken_is_kept_until_its_commit_is_known(
    follower: Follower, tracking: FakeTracking, ledger: Ledger
) -> None:
    dirty = tracking.dirty_of(KEY)
    dirty.mark(0, BLOCK)
    dirty.take()
    dirty.mark(9 * BLOCK, BLOCK)
    ledger.ask(NEW)
    assert follower.plan(base(OLD), SIZE, "").entry == OLD
    assert list(dirty.take_all().extents()) == [(0, BLOCK), (9 * BLOCK, 10 * BLOCK)]


def test_what_was_taken_is_done_with_when_its_commit_came_through(
    follower: Follower, tracking: FakeTracking, ledger: Ledger
) -> None:
    dirty = tracking.dirty_of(KEY)
    dirty.mark(0, BLOCK)
    dirty.take()
    dirty.mark(9 * BLOCK, BLOCK)
    ledger.ask(NEW)
    assert follower.plan(base(NEW), SIZE, "").entry == NEW
    assert list(dirty.take_all().extents()) == [(9 * BLOCK, 10 * BLOCK)]


def test_unreadable_ranges_are_tried_again_after_a_while(tmp_path: Path, tracking: FakeTracking) -> None:
    patient, eager = Follower(tmp_path, tracking), Follower(tmp_path, tracking, retry_seconds=0.0)
    assert [patient.is_retry_due(KEY) for _ in range(3)] == [True, False, False]
    assert [eager.is_retry_due(KEY) for _ in range(3)] == [True, True, True]
    patient.plan(base(None), SIZE, "")
    assert not patient.is_retry_due(KEY), "reading the whole disk was a try"
    assert patient.is_retry_due("other")


def test_ranges_survive_the_ledger(tmp_path: Path) -> None:
    found = Extents.of([(0, 5 * BLOCK), (9 * BLOCK, 12 * BLOCK)])
    assert Extents.of_ranges(found.ranges()) == found
