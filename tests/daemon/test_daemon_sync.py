"""Whole synchronisations against a gateway that speaks the real wire."""

import dataclasses
import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from app.agent.daemon.errors import AgentError, DiskError, Garbled, LinkError, Refusal
from app.agent.daemon.link.link import STALL_SECONDS
from app.agent.daemon.service import PutStream, Session
from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.sync import Synchroniser
from app.wire.chunks import CHUNK_SIZE, chunk_id
from app.wire.tree import LEAF_IDS
from tests.daemon.fake_gateway import FakeGateway

MIB = 1024 * 1024
LEAF = LEAF_IDS * CHUNK_SIZE
Make = Callable[..., Synchroniser]
Image = Callable[..., Path]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agent.daemon.link.link._FIRST_PAUSE", 0.01)


@pytest.mark.parametrize("size", [4096, 4097, 512 * 777, 3 * MIB + 100, 40 * MIB, 300 * MIB + 12288])
def test_a_replica_equals_its_source(
    size: int, gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    pieces = [(0, noise(min(size, 5 * MIB))), (max(0, size - 70_000), noise(min(size, 70_000), 2))]
    path = image("disk.img", size, *pieces)
    result = synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()
    assert result.label == "quiet"
    assert result.counters.read < size + 4096
    assert gateway.commits[0].disks[0].omitted == ()


def test_an_empty_disk_sends_no_chunk(gateway: FakeGateway, synchroniser: Make, image: Image) -> None:
    path = image("disk.img", 600 * MIB)
    result = synchroniser(path).run()
    assert (result.counters.read, result.counters.wire, gateway.puts) == (0, 0, 0)
    assert gateway.content(str(path)) == bytes(600 * MIB)


def test_several_disks_become_one_checkpoint(gateway: FakeGateway, synchroniser: Make, image: Image) -> None:
    paths = [image(f"disk{n}.img", (n + 1) * 20 * MIB, (n * MIB, noise(3 * MIB, n))) for n in range(6)]
    synchroniser(*paths).run()
    assert len(gateway.commits) == 1
    for path in paths:
        assert gateway.content(str(path)) == path.read_bytes()


def test_an_unchanged_disk_costs_nothing_on_the_wire(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 30 * MIB, (0, noise(20 * MIB)))
    first = synchroniser(path).run()
    second = synchroniser(path).run()
    assert first.counters.wire > 20 * MIB
    assert second.counters.wire == 0
    assert second.disks[0].root == first.disks[0].root
    assert gateway.commits[1].disks[0].changed == ()


def test_a_small_change_travels_as_a_patch(gateway: FakeGateway, synchroniser: Make, image: Image) -> None:
    path = image("disk.img", 300 * MIB, (0, noise(20 * MIB)))
    synchroniser(path).run()
    with path.open("r+b") as out:
        for at in (5000, 7 * MIB, 19 * MIB):
            out.seek(at)
            out.write(b"changed")
    result = synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()
    assert gateway.patches == 3
    assert result.counters.sent == 0
    assert result.counters.wire < 60_000


def test_a_disk_that_grew_or_shrank_between_passes(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 20 * MIB + 5000, (0, noise(20 * MIB)))
    for size in (300 * MIB, 7 * MIB + 1):
        synchroniser(path).run()
        os.truncate(path, size)
        synchroniser(path).run()
        assert gateway.content(str(path)) == path.read_bytes()


def test_what_another_server_stored_is_proved_and_not_sent(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    data = noise(4 * MIB)
    path = image("disk.img", 8 * MIB, (0, data))
    for at in range(0, len(data), CHUNK_SIZE):
        piece = data[at : at + CHUNK_SIZE]
        gateway.chunks[chunk_id(piece)] = piece
    gateway.unproven = set(gateway.chunks)
    result = synchroniser(path).run()
    assert (gateway.proofs, result.counters.sent, gateway.unproven) == (16, 0, set())
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_refused_proof_or_patch_is_answered_with_the_whole_chunk(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 8 * MIB, (0, noise(4 * MIB)))
    synchroniser(path).run()
    with path.open("r+b") as out:
        out.write(b"changed")
    gateway.faults.refuse_patches = 1
    result = synchroniser(path).run()
    assert result.counters.sent == CHUNK_SIZE
    other = image("other.img", 8 * MIB, (0, noise(4 * MIB)))
    gateway.unproven = set(gateway.chunks)
    gateway.faults.refuse_proofs = 2
    synchroniser(other).run()
    assert gateway.content(str(path)) == path.read_bytes()
    assert gateway.content(str(other)) == other.read_bytes()


def test_a_put_that_is_cut_off_costs_its_leaves_and_nothing_else(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 600 * MIB, (0, noise(10 * MIB)), (500 * MIB, noise(10 * MIB, 2)))
    gateway.faults.cut_puts = 2
    synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()
    assert gateway.generation == 1


def test_a_service_that_is_slow_with_each_put_is_given_more_time_also_in_a_small_pass(
    gateway: FakeGateway, synchroniser: Make, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one put is lost again and again, each time in a round of its own."""
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    open_put, waits = Session.begin_put, list[float]()

    def begin_put(session: Session, patience: float) -> PutStream:
        waits.append(patience)
        put = open_put(session, patience)
        if patience <= STALL_SECONDS:
            monkeypatch.setattr(put, "result", stalled)
        return put

    def stalled() -> NoReturn:
        raise LinkError("nothing moved") from TimeoutError()

    monkeypatch.setattr(Session, "begin_put", begin_put)
    synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()
    assert waits == [STALL_SECONDS] * 3 + [3 * STALL_SECONDS]


def test_a_commit_whose_answer_is_lost_is_repeated(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.unanswered_commits = 1
    assert synchroniser(path).run().number == 1


@pytest.mark.parametrize("fault", ["fenced_commits", "missing_commits"])
def test_a_refused_commit_begins_anew(
    fault: str, gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    setattr(gateway.faults, fault, 2)
    synchroniser(path).run()
    assert gateway.generation == 3
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_fence_that_stays_is_reported(gateway: FakeGateway, synchroniser: Make, image: Image) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.fenced_commits = 100
    with pytest.raises(Refusal, match="newer session") as caught:
        synchroniser(path).run()
    assert caught.value.code == "FENCED"
    assert gateway.commits == []


def test_damaged_chunks_of_the_store_are_sent_again(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    data = noise(2 * MIB)
    path = image("disk.img", 4 * MIB, (0, data))
    synchroniser(path).run()
    gateway.resend = (chunk_id(data[:CHUNK_SIZE]).hex(),)
    result = synchroniser(path).run()
    assert result.counters.sent == CHUNK_SIZE


def test_a_busy_service_is_waited_for(gateway: FakeGateway, synchroniser: Make, image: Image) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.busy_answers = 4
    synchroniser(path).run()
    assert len(gateway.commits) == 1


def test_a_put_that_is_refused_for_now_comes_again_when_the_service_said(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.busy_puts, gateway.faults.retry_after = 2, 1
    synchroniser(path).run()
    first, second, third = gateway.put_times[:3]
    assert second - first >= 1
    assert third - second >= 1
    assert len(gateway.commits) == 1


def test_a_stop_ends_the_pause_that_the_service_asked_for(
    gateway: FakeGateway, synchroniser: Make, image: Image, stop: Stop
) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.busy_puts, gateway.faults.retry_after = 1000, 200
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    with pytest.raises(Stopped):
        synchroniser(path).run()
    timer.join()
    assert gateway.commits == []


def test_a_host_whose_clock_was_set_back_states_the_time_of_the_head(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    ahead = datetime.now(UTC) + timedelta(days=365)
    for time in ("", ahead.isoformat(), (ahead - timedelta(days=366)).isoformat()):
        gateway.head_time = time
        synchroniser(path).run()
    first, second, third = (datetime.fromisoformat(commit.source_time) for commit in gateway.commits)
    assert second == ahead
    assert first < third < ahead, "its own clock, where that is past the head"


def test_a_full_store_is_named_and_nothing_is_committed(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 40 * MIB, (0, noise(30 * MIB)))
    gateway.faults.store_full = True
    with pytest.raises(Refusal) as caught:
        synchroniser(path).run()
    assert caught.value.code == "STORE_FULL"
    assert gateway.commits == []


def test_a_frame_that_was_garbled_on_its_way_is_sent_again(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 40 * MIB, (0, noise(30 * MIB)))
    gateway.faults.refuse_puts = 1
    synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_frame_that_is_refused_every_time_is_named(
    gateway: FakeGateway, synchroniser: Make, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.pipeline.sender.MAX_LOST", 2)
    path = image("disk.img", 4 * MIB, (0, noise(3 * MIB)))
    gateway.faults.refuse_puts = 100
    with pytest.raises(Garbled) as caught:
        synchroniser(path).run()
    assert (caught.value.code, caught.value.exit_code) == ("BAD_FRAME", 1)


def test_an_endless_answer_is_cut_off(
    gateway: FakeGateway, synchroniser: Make, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.pipeline.sender.MAX_LOST", 1)
    path = image("disk.img", 4 * MIB, (0, noise(MIB)))
    gateway.faults.long_answer = True
    with pytest.raises(LinkError) as caught:
        synchroniser(path).run()
    assert caught.value.code == "ANSWER_TOO_LONG"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: os.truncate(path, MIB), "DISK_SHRUNK"),
        (lambda path: path.unlink(), "DISK_VANISHED"),
        (lambda path: os.truncate(path, 90 * MIB), "DISK_LAYOUT_CHANGED"),
    ],
)
def test_a_disk_that_changes_its_size_or_vanishes_is_not_committed(
    spoil: Callable[[Path], None], code: str, gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 60 * MIB, (0, noise(50 * MIB)))
    synchroniser(path).run()
    gateway.hook = lambda name: spoil(path) if name == "disks" and path.exists() else None
    with pytest.raises(DiskError) as caught:
        synchroniser(path).run()
    assert caught.value.code == code
    assert len(gateway.commits) == 1


def test_a_write_during_the_pass_makes_it_fuzzy(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 60 * MIB, (0, noise(5 * MIB)))
    assert synchroniser(path).run().label == "quiet"

    def write(name: str) -> None:
        with path.open("r+b") as out:
            out.write(b"x")

    gateway.hook = write
    assert synchroniser(path).run().label == "fuzzy"


def test_the_stop_ends_a_pass_at_once(
    gateway: FakeGateway, synchroniser: Make, image: Image, stop: Stop
) -> None:
    path = image("disk.img", 60 * MIB, (0, noise(50 * MIB)))
    synchroniser(path).run()
    gateway.hook = lambda name: stop.set() if name == "disks" else None
    with pytest.raises(Stopped):
        synchroniser(path).run()
    assert len(gateway.commits) == 1


def test_a_missing_disk_is_named(synchroniser: Make, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="does not exist") as caught:
        synchroniser(tmp_path / "nothing").run()
    assert caught.value.code == "DISK_NOT_FOUND"


def test_a_killed_run_is_taken_up_where_it_stopped(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    path = image("disk.img", 60 * MIB, (0, noise(50 * MIB)))
    gateway.faults.fenced_commits = 5
    with pytest.raises(Refusal):
        synchroniser(path).run()
    received = gateway.received
    result = synchroniser(path).run()
    assert result.counters.sent == 0
    assert gateway.received - received < 100_000
    assert gateway.content(str(path)) == path.read_bytes()


def test_a_leaf_that_the_service_lost_and_that_is_zeros_now_keeps_no_pass_from_its_commit(
    gateway: FakeGateway, synchroniser: Make, image: Image
) -> None:
    """Its ids come as zeros, so it seems not to have changed, while the service's tree names it still."""
    path = image("disk.img", 2 * LEAF, (0, b"stays"), (LEAF, b"goes"))
    synchroniser(path).run()
    root = gateway.replicas[str(path)].root
    assert root is not None
    del gateway.leaves[root.leaf(1)]
    image("disk.img", 2 * LEAF, (0, b"stays"))
    synchroniser(path).run()
    assert gateway.content(str(path)) == path.read_bytes()


@pytest.mark.parametrize("chunk_size", [0, 1, 1 << 30])
def test_chunks_of_a_size_that_no_disk_has_are_refused(
    chunk_size: int, gateway: FakeGateway, synchroniser: Make, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service must not be able to fill the memory of the host."""
    base_of = gateway._base
    monkeypatch.setattr(
        gateway, "_base", lambda *which: dataclasses.replace(base_of(*which), chunk_size=chunk_size)
    )
    with pytest.raises(LinkError, match=f"in chunks of {chunk_size} bytes"):
        synchroniser(image("disk.img", MIB, (0, b"x"))).run()
