"""Events that the kernel's trace lost without a sign: online verification is what finds them."""

import os
from pathlib import Path

import pytest

from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.tracking.writes import Write
from app.client import verifications
from app.contract.resources.verification import Verification
from app.contract.words import Verdict, WorkState
from app.wire.chunks import CHUNK_SIZE
from tests.e2e.deployment import Deployment, until
from tests.following.live_host import MIB, LiveHost, live_host, namespace_of_mounts, number_in, writing
from tests.following.replicas import checkpoint, differences
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZE = 768 * MIB
CHUNKS = SIZE // CHUNK_SIZE
EVERY = 1000
PATIENCE_SECONDS = 120


class DropOneIn:
    """A sieve: of `every` writes to one disk, from `begin` on, one is lost without a trace."""

    def __init__(self, disk: Path, every: int) -> None:
        self._device = disk.stat().st_rdev
        self._every = every
        self._seen: int | None = None
        self.lost: set[int] = set()
        """The chunks that were written to by lost writes."""

    def begin(self) -> None:
        """Lose writes from now on."""
        self._seen = 0

    def __call__(self, write: Write) -> bool:
        is_ours = write.device == os.major(self._device) << 20 | os.minor(self._device)
        if self._seen is None or not is_ours:
            return True
        self._seen += 1
        if self._seen % self._every != 0:
            return True
        self.lost.add(write.sector * 512 // CHUNK_SIZE)
        return False


def verified(service: Deployment, host: LiveHost) -> Verification:
    """Order a verification, let the agent of the running host do it, and wait for its result."""
    with service.client() as client:
        wanted = client.send(verifications.order(host.server)).id
        host.verifications.follow(wanted)

        def is_over() -> bool:
            found = client.send(verifications.get(host.server, wanted))
            return found.state in (WorkState.SUCCEEDED, WorkState.FAILED)

        until(is_over, PATIENCE_SECONDS, f"the verification is over: {host.notes[-3:]}")
        return client.send(verifications.get(host.server, wanted))


def test_one_lost_event_in_a_thousand_is_found_by_verification_named_and_repaired(
    service: Deployment, place: Path, images: Path
) -> None:
    """Another disk is written to meanwhile, and excused; only what was lost is named."""
    tell = place / "told"
    with loop_disk(images / "busy.img", 256 * MIB) as busy, loop_disk(images / "data.img", SIZE) as data:
        busy.format("ext4")
        sieve = DropOneIn(data.device, EVERY)
        with (
            namespace_of_mounts([(busy, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "rows"),
            live_host(
                place, service, [busy, data], images, lambda run: TraceTracker(run, sieve=sieve)
            ) as host,
        ):
            host.sync()
            sieve.begin()
            with writing(process, "scattered", data.device, tell):
                until(lambda: number_in(tell) > CHUNKS // 2, PATIENCE_SECONDS, "half of it is written")
                host.sync()
                until(lambda: number_in(tell) == CHUNKS, PATIENCE_SECONDS, "all of it is written")
            assert_not_noticed(host)
            assert_lost_writes_are_named(verified(service, host), data, sieve)
            assert_repaired(service, host, images)


def assert_not_noticed(host: LiveHost) -> None:
    """The agent takes what it knows for all that was written."""
    host.sync_frozen()
    assert host.follower.take_codes() == ["", ""]
    assert [note for note in host.notes if "anew" in note or "differs" in note] == []


def assert_lost_writes_are_named(found: Verification, disk: LoopDisk, sieve: DropOneIn) -> None:
    """The result names exactly the chunks whose writes were lost, and the other disk is the same."""
    assert (found.state, found.verdict) == (WorkState.FAILED, Verdict.DIFFERS)
    by_key = {each.key: each for each in found.disks}
    of_data = by_key.pop(str(disk.device))
    assert [each.verdict for each in by_key.values()] == [Verdict.SAME]
    named = {
        number
        for each in of_data.unexplained
        for number in range(each.offset // CHUNK_SIZE, (each.offset + each.length) // CHUNK_SIZE)
    }
    assert len(sieve.lost) == CHUNKS // EVERY
    assert named == sieve.lost
    assert of_data.unexplained_bytes == len(sieve.lost) * CHUNK_SIZE


def assert_repaired(service: Deployment, host: LiveHost, images: Path) -> None:
    """Another pass is due at once: it reads that disk as a whole, and sends what differs."""
    assert host.synchroniser.is_wanted
    before = checkpoint(service, host.server).number
    host.sync_frozen()
    assert host.follower.take_codes() == ["REPLICA_DIFFERS"]
    counters = checkpoint(service, host.server, before + 1).counters
    assert counters.read_bytes >= SIZE
    assert counters.sent_bytes + counters.patched_bytes < SIZE // 20
    assert not host.synchroniser.is_wanted
    assert verified(service, host).verdict is Verdict.SAME
    assert differences(service, host, images) == {}
