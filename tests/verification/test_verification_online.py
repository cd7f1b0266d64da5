"""Online verification through a real service: what nobody wrote is found, what was written is excused."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.verification.writes import Untracked
from app.client import servers
from app.client.errors import Conflicting
from app.contract.words import Verdict, WorkState
from app.wire.chunks import CHUNK_SIZE, MIB
from tests.services.running import Running
from tests.verification.online_rig import Host, NotedWrites, host_of, until, write

SIZE = 300 * MIB + 12288
"""Two leaves; most of it is a hole."""
DATA = 6 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as out:
        out.truncate(SIZE)
        out.write(random.Random(1).randbytes(DATA))
        out.seek(SIZE - 8192)
        out.write(random.Random(2).randbytes(8192))
    return path


@pytest.fixture
def host(running: Running, tmp_path: Path, disk: Path) -> Iterator[Host]:
    with host_of(running, tmp_path / "agent", disk) as made:
        made.sync()
        yield made


def test_an_unchanged_source_is_its_replica(host: Host, disk: Path) -> None:
    found = host.verified(NotedWrites())
    assert (found.state, found.verdict, found.code) == (WorkState.SUCCEEDED, Verdict.SAME, None)
    assert found.done_bytes == found.total_bytes == SIZE
    (result,) = found.disks
    assert (result.key, result.size_bytes, result.verdict) == (str(disk), SIZE, Verdict.SAME)
    assert result.compared_bytes == SIZE
    assert DATA <= result.read_bytes < SIZE
    assert host.differing == []
    with host.running.client() as client:
        shown = client.send(servers.get(host.server)).verification
        listed = client.send(servers.page()).items[0].verification
    assert shown is not None
    assert shown == listed
    assert (shown.id, shown.level, shown.verdict) == (found.id, "v2", Verdict.SAME)
    assert shown.time == found.finished_at


def test_writes_behind_the_trackers_back_are_found_and_named(host: Host, disk: Path) -> None:
    write(disk, 2 * CHUNK_SIZE + 5, b"lost")
    write(disk, 3 * CHUNK_SIZE, b"lost")
    write(disk, 280 * MIB, b"lost in a hole")
    found = host.verified(NotedWrites())
    assert (found.state, found.verdict) == (WorkState.FAILED, Verdict.DIFFERS)
    (result,) = found.disks
    assert [(each.offset, each.length) for each in result.unexplained] == [
        (2 * CHUNK_SIZE, 2 * CHUNK_SIZE),
        (280 * MIB, CHUNK_SIZE),
    ]
    assert result.unexplained_bytes == 3 * CHUNK_SIZE
    assert host.differing == [str(disk)]
    assert host.reason() == "REPLICA_DIFFERS"
    host.sync()
    assert host.reason() is None
    assert host.verified(NotedWrites()).verdict is Verdict.SAME


def test_what_was_written_since_the_head_is_excused(host: Host, disk: Path) -> None:
    dirty = {(str(disk), *write(disk, at, b"noted")) for at in (7, 5 * CHUNK_SIZE, SIZE - 100)}
    found = host.verified(NotedWrites(dirty))
    assert found.verdict is Verdict.SAME
    assert found.disks[0].excused_bytes == 2 * CHUNK_SIZE + SIZE % CHUNK_SIZE
    assert found.disks[0].unexplained == ()


def test_a_write_that_the_kernel_tells_of_late_is_excused(host: Host, disk: Path) -> None:
    start, end = write(disk, 9, b"complete, and not yet told")
    writes, drains = NotedWrites(), []

    def tell_late() -> None:
        drains.append(1)
        if len(drains) == 3:
            writes.dirty.add((str(disk), start, end))

    writes.on_drain = tell_late
    found = host.verified(writes)
    assert found.verdict is Verdict.SAME
    assert found.disks[0].excused_bytes == CHUNK_SIZE


def test_a_head_that_moves_meanwhile_is_compared_with_instead(host: Host, disk: Path) -> None:
    write(disk, 9, b"dirty until the next checkpoint")
    writes, drains = NotedWrites(), []

    def commit_once() -> None:
        drains.append(1)
        if len(drains) == 1:
            host.sync()

    writes.on_drain = commit_once
    found = host.verified(writes)
    assert found.verdict is Verdict.SAME
    assert found.disks[0].excused_bytes == 0
    with host.running.client() as client:
        assert found.checkpoint_id == client.send(servers.checkpoint(host.server)).id


def test_a_head_that_moves_at_every_look_hides_no_difference(host: Host, disk: Path) -> None:
    """The replica is made to differ by a checkpoint that another disk image was behind."""
    before = disk.read_bytes()[: 2 * CHUNK_SIZE]
    write(disk, 0, b"never on the source")
    host.sync()
    write(disk, 0, before)
    writes = NotedWrites()
    moves: list[int] = []
    other = disk.with_name("other")

    def move() -> None:
        if len(moves) < 6:
            moves.append(1)
            disk.rename(other)
            disk.write_bytes(b"never on the source" + before[19:])
            with disk.open("r+b") as out:
                out.truncate(SIZE)
            host.sync()
            disk.unlink()
            other.rename(disk)

    writes.on_drain = move
    found = host.verified(writes)
    assert found.verdict is Verdict.DIFFERS
    assert len(moves) == 6


def test_without_a_tracker_a_difference_is_unproved(host: Host, disk: Path) -> None:
    assert host.verified(Untracked()).verdict is Verdict.SAME
    write(disk, 3, b"somebody")
    found = host.verified()
    assert (found.state, found.verdict) == (WorkState.SUCCEEDED, Verdict.UNPROVED)
    assert found.disks[0].unproved_bytes == CHUNK_SIZE
    assert found.disks[0].note is not None
    assert host.differing == []
    assert host.reason() is None


def test_a_tracker_that_lost_its_track_meanwhile_proves_nothing(host: Host, disk: Path) -> None:
    write(disk, 3, b"somebody")
    writes = NotedWrites()

    def lose() -> None:
        writes.is_continuous = False

    writes.on_drain = lose
    assert host.verified(writes).verdict is Verdict.UNPROVED


def test_one_verification_stands_at_a_time(host: Host) -> None:
    first = host.order()
    assert host.order().id == first.id
    with host.verifying(NotedWrites()) as made:
        made.follow(first.id)
        host.until_over(first.id)
        assert host.order().id != first.id


def test_a_result_that_was_delivered_is_not_worked_for_again(host: Host) -> None:
    wanted = host.order().id
    with host.verifying(NotedWrites()) as made:
        made.follow(wanted)
        host.until_over(wanted)
        until(lambda: made._finished == wanted, "the thread is over")
        made.follow(wanted)
        assert made._thread is None or not made._thread.is_alive()


def test_a_withdrawn_verification_ends_and_the_next_agent_begins_it_anew(host: Host) -> None:
    wanted = host.order().id
    with host.verifying(NotedWrites()) as made:
        assert made.pause()
        made.follow(wanted)
        made.close()
        assert host.shown(wanted).state is WorkState.PENDING
    with host.verifying(NotedWrites()) as again:
        again.follow(wanted)
        assert host.until_over(wanted).verdict is Verdict.SAME


def test_nothing_is_done_while_it_is_paused(host: Host, disk: Path) -> None:
    wanted = host.order().id
    with host.verifying(NotedWrites()) as made:
        assert made.pause()
        assert made.pause()
        made.follow(wanted)
        made.resume()
        assert host.shown(wanted).state is WorkState.PENDING
        made.resume()
        assert host.until_over(wanted).verdict is Verdict.SAME


def test_a_disk_that_grew_is_not_proved_until_the_next_checkpoint(host: Host, disk: Path) -> None:
    with disk.open("r+b") as out:
        out.truncate(SIZE + MIB)
    found = host.verified(NotedWrites())
    assert (found.state, found.verdict) == (WorkState.SUCCEEDED, Verdict.UNPROVED)
    assert found.disks[0].code == "DISK_LAYOUT_CHANGED"
    host.sync()
    assert host.verified(NotedWrites()).verdict is Verdict.SAME


def test_a_disk_that_is_gone_breaks_it_off_with_a_code(host: Host, disk: Path) -> None:
    disk.rename(disk.with_name("gone"))
    found = host.verified(NotedWrites())
    assert (found.state, found.code) == (WorkState.FAILED, "DISK_NOT_FOUND")
    assert found.verdict is Verdict.UNPROVED


def test_a_leaf_that_the_store_lost_is_no_difference(host: Host, running: Running) -> None:
    for file in (running.settings.store.path / "leaves").rglob("*"):
        if file.is_file():
            file.unlink()
    found = host.verified(NotedWrites())
    assert found.verdict is Verdict.UNPROVED
    assert found.disks[0].lost_bytes == SIZE
    assert found.disks[0].unexplained == ()


def test_a_server_without_a_checkpoint_has_nothing_to_verify(
    running: Running, tmp_path: Path, disk: Path
) -> None:
    with host_of(running, tmp_path / "agent", disk) as host, pytest.raises(Conflicting) as refused:
        host.order()
    assert refused.value.code == "NOTHING_TO_VERIFY"
