"""A leaf of which little changed travels as those changes; whatever is refused of that travels whole."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.pipeline.leaves import MOST_CHANGES, LeafKey, LeafWork
from app.agent.daemon.service import Service, Session
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.wire.chunks import CHUNK_SIZE, chunk_id
from app.wire.messages import Limits, Opened, Refused
from app.wire.tree import LEAF_BYTES, LEAF_IDS, changed_leaf, leaf_hash
from tests.daemon.fake_gateway import FakeGateway
from tests.services.loop_disks import LoopDisk, loop_disk

MIB = 1024 * 1024
LEAF = LEAF_IDS * CHUNK_SIZE
Make = Callable[..., Synchroniser]
Image = Callable[..., Path]


def write(path: Path, *places: int) -> None:
    """Change eight bytes at each of these places, at once on the device."""
    fd = os.open(path, os.O_WRONLY)
    try:
        for at in places:
            os.pwrite(fd, os.urandom(8), at)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_a_leaf_of_a_whole_disk_travels_as_its_changes(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 2 * LEAF + 5 * MIB, *((at, b"old") for at in (0, MIB, LEAF, 2 * LEAF)))
    synchroniser(path).run()
    assert (gateway.whole_leaves, gateway.leaf_patches) == (3, 0)
    write(path, MIB, LEAF)
    result = synchroniser(path).run()
    assert (gateway.whole_leaves, gateway.leaf_patches) == (3, 2)
    assert gateway.content(str(path)) == path.read_bytes()
    assert result.counters.wire < LEAF_BYTES


def test_a_leaf_of_which_much_changed_travels_whole(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 200 * MIB, (0, b"old"))
    synchroniser(path).run()
    write(path, *(at * CHUNK_SIZE for at in range(MOST_CHANGES + 1)))
    synchroniser(path).run()
    assert (gateway.whole_leaves, gateway.leaf_patches) == (2, 0)
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_refused_leaf_patch_is_answered_with_the_whole_leaf(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 3 * LEAF, *((at, b"old") for at in (0, LEAF, 2 * LEAF)))
    synchroniser(path).run()
    write(path, 0, LEAF)
    gateway.faults.refuse_leaf_patches = 1
    result = synchroniser(path).run()
    assert gateway.whole_leaves == 4
    assert (result.counters.sent, gateway.generation) == (0, 2)
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_refused_leaf_is_no_doubted_chunk() -> None:
    opened = Opened("ses-1", 1, "", (), "00" * 32, Limits(4096, 1 << 20, 1 << 30))
    session = Session(Link(Endpoint.parse("http://127.0.0.1:9"), Stop()), opened)
    codes = ("LEAF_MISMATCH", "LEAF_BASE_MISSING", "BASE_MISSING", "PATCH_MISMATCH")
    session.take_refused(tuple(Refused(f"{at:064x}", code) for at, code in enumerate(codes)))
    names = [at.to_bytes(32, "big") for at in range(4)]
    assert session.whole_leaves == set(names[:2])
    assert session.doubted == set(names[2:])
    assert session.mismatched == {names[3]}


def test_a_patch_is_made_of_the_differences_to_the_base_in_any_order_of_rounds() -> None:
    base = b"".join(chunk_id(bytes([at % 256])) for at in range(LEAF_IDS))
    work = LeafWork(LeafKey(0, 7), base, 1, before=changed_leaf(base, ((3, b"r" * 32),)))
    work.set_id(7 * LEAF_IDS + 9, b"n" * 32)
    patch = work.patch(leaf_hash(work.ids))
    assert patch is not None
    assert (patch.base, patch.changes) == (leaf_hash(base), ((3, b"r" * 32), (9, b"n" * 32)))
    assert leaf_hash(changed_leaf(base, patch.changes)) == patch.leaf


def test_a_leaf_without_a_base_has_no_patch() -> None:
    work = LeafWork(LeafKey(0, 0), bytes(LEAF_BYTES), 1)
    work.set_id(5, b"n" * 32)
    assert work.patch(leaf_hash(work.ids)) is None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    """A block device of four leaves and some."""
    with loop_disk(tmp_path / "disk.raw", 4 * LEAF + 3 * MIB) as made:
        write(made.device, *(at * LEAF for at in range(5)))
        yield made


@pytest.fixture
def following(service: Service, stop: Stop, disk: LoopDisk, tmp_path: Path) -> Iterator[Synchroniser]:
    """A synchroniser that follows the device, after its first two checkpoints."""
    run = tmp_path / "run"
    run.mkdir()
    follower = Follower(run, TraceTracker(run))
    made = Synchroniser(service, "instance", (str(disk.device),), stop, Observer(), Host(follower))
    try:
        made.run()
        yield made
    finally:
        made.close(keep=False)


def replica_is(gateway: FakeGateway, disk: LoopDisk) -> bool:
    """Whether the replica is what the device holds."""
    (key,) = gateway.replicas
    return gateway.content(key) == disk.backing.read_bytes()


@pytest.mark.root
def test_scattered_writes_to_a_followed_disk_cost_their_own_size_on_the_wire(
    gateway: FakeGateway, following: Synchroniser, disk: LoopDisk
) -> None:
    whole, asked = gateway.whole_leaves, gateway.leaf_requests
    for number in range(1, 4):
        places = [at * LEAF + number * MIB for at in range(4)]
        write(disk.device, *places)
        result = following.run()
        assert gateway.whole_leaves == whole
        assert gateway.leaf_patches == 4 * number
        assert result.counters.wire < len(places) * 4096 * 1.3
        assert replica_is(gateway, disk)
    assert gateway.leaf_requests - asked <= 4, "the leaves of a checkpoint are kept for the next pass"


@pytest.mark.root
def test_a_refused_patch_of_a_followed_disks_leaf_is_answered_with_that_leaf(
    gateway: FakeGateway, following: Synchroniser, disk: LoopDisk
) -> None:
    whole, sessions = gateway.whole_leaves, gateway.generation
    write(disk.device, 0, LEAF, 3 * LEAF)
    gateway.faults.refuse_leaf_patches = 2
    result = following.run()
    assert gateway.whole_leaves == whole + 2
    assert gateway.generation == sessions + 1
    assert result.counters.sent == 0
    assert replica_is(gateway, disk)


@pytest.mark.root
def test_leaves_that_were_put_together_survive_a_put_that_is_cut_off(
    gateway: FakeGateway, following: Synchroniser, disk: LoopDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.link.link._FIRST_PAUSE", 0.01)
    write(disk.device, 0, LEAF)
    gateway.faults.cut_puts = 3
    following.run()
    assert replica_is(gateway, disk)
