"""A replica that was found to differ is read as a whole, whatever happens before it is."""

from pathlib import Path

import pytest

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.following.ledger import Entry, Ledger
from app.wire.chunks import CHUNK_SIZE, MIB
from app.wire.messages import DiskBase
from app.wire.tree import RootNode
from tests.following.fake_tracking import FakeTracking

SIZE = 64 * MIB
KEY = "disk"
NODE = RootNode.empty(SIZE, CHUNK_SIZE)
BASE = DiskBase("dsk-1", KEY, CHUNK_SIZE, NODE.hash.hex(), SIZE)


@pytest.fixture
def tracking(tmp_path: Path) -> FakeTracking:
    """A tracker that knows all writes since the head."""
    made = FakeTracking(tmp_path, SIZE, KEY)
    ledger = Ledger(tmp_path, KEY)
    ledger.ask(Entry(BASE.root, NODE.encode().hex(), made.identity_of(KEY)))
    ledger.promote()
    return made


def test_a_doubt_outlives_the_agent(tmp_path: Path, tracking: FakeTracking) -> None:
    """Else a replica that is known to be wrong was called in sync again after an update of the agent."""
    assert Follower(tmp_path, tracking).plan(BASE, SIZE, "").entry is not None
    Follower(tmp_path, tracking).doubt_all([KEY])
    later = Follower(tmp_path, tracking)
    assert later.plan(BASE, SIZE, "").entry is None
    assert later.plan(BASE, SIZE, "").entry is None, "until it was read, and that was committed"


def test_a_doubt_outlives_a_commit_that_was_under_way(tmp_path: Path, tracking: FakeTracking) -> None:
    ledger = Ledger(tmp_path, KEY)
    ledger.ask(Entry(BASE.root, NODE.encode().hex(), tracking.identity_of(KEY)))
    Follower(tmp_path, tracking).doubt_all([KEY])
    assert ledger.of(BASE.root) == (None, True)
    ledger.forget()
    ledger.ask(Entry(BASE.root, NODE.encode().hex(), tracking.identity_of(KEY)))
    ledger.promote()
    assert ledger.of(BASE.root)[0] is not None


def test_a_doubt_about_a_disk_that_is_not_followed_brings_no_pass_after_another(
    tmp_path: Path, tracking: FakeTracking
) -> None:
    """Each pass reads it as a whole anyway, and none would ever take the doubt away."""
    follower = Follower(tmp_path, tracking)
    follower.doubt_all([KEY])
    assert not follower.has_doubts


def test_a_ledger_that_cannot_be_kept_fails_the_pass_and_not_the_agent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "gone", KEY)
    with pytest.raises(TrackingError, match="make room in /run"):
        ledger.ask(Entry(BASE.root, NODE.encode().hex(), "tracker"))
    with pytest.raises(TrackingError, match="make room in /run"):
        ledger.promote()
    notes: list[str] = []
    Follower(tmp_path / "gone", note=notes.append).doubt_all([KEY])
    assert "cannot be kept" in notes[0]
