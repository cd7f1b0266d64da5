"""A batch of a put: its chunks are checked while more come, few at a time, and no check outlives it."""

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from app.kit.errors import Invalid
from app.migration.replication import gathering
from app.migration.replication.gathering import GATHERED_BYTES, Batch
from app.migration.replication.received import Stored, verify
from app.wire.chunks import KIB, MIB, chunk_id
from app.wire.codec import Codec
from app.wire.frames import MAX_RECORDS, ChunkRecord

SOURCE = random.Random(31)


def record(length: int = 64 * KIB) -> ChunkRecord:
    plain = SOURCE.randbytes(length)
    return ChunkRecord(chunk_id(plain), Codec.NONE, length, plain)


@dataclass
class Checks:
    """Those that began, each of which goes on when it may, and how many run now."""

    begun: list[Sequence[ChunkRecord]] = field(default_factory=list)
    may_go_on: list[threading.Event] = field(default_factory=lambda: [threading.Event() for _ in range(4)])
    running: int = 0
    has_begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def verify(self, records: Sequence[ChunkRecord]) -> list[Stored]:
        """In the place of `verify`, in a thread; these tests begin one check after the other."""
        goes_on = self.may_go_on[len(self.begun)]
        self.begun.append(records)
        self.running += 1
        self.has_begun.release()
        assert goes_on.wait(60)
        self.running -= 1
        return verify(records)

    async def one_begins(self) -> None:
        assert await asyncio.to_thread(self.has_begun.acquire, timeout=30)

    def let_all_go_on(self) -> None:
        for each in self.may_go_on:
            each.set()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    made = Checks()
    monkeypatch.setattr(gathering, "verify", made.verify)
    yield made
    made.let_all_go_on()


async def two_begun(checks: Checks) -> Batch:
    batch = Batch()
    for _ in range(2):
        await batch.add([record()], 4 * MIB)
        await checks.one_begins()
    return batch


async def test_chunks_are_checked_while_more_of_them_come(checks: Checks) -> None:
    batch, records = Batch(), [record() for _ in range(4)]
    await batch.add(records[:3], 4 * MIB)
    await checks.one_begins()
    await batch.add(records[3:], MIB)
    checks.let_all_go_on()
    assert {chunk.id for chunk in await batch.checked()} == batch.names == {each.id for each in records}
    assert [len(each) for each in checks.begun] == [3, 1]


async def test_a_sender_waits_while_two_checks_are_under_way(checks: Checks) -> None:
    batch = await two_begun(checks)
    third = asyncio.create_task(batch.add([record()], 4 * MIB))
    await asyncio.sleep(0.2)
    assert (third.done(), checks.running) == (False, 2)
    checks.let_all_go_on()
    await third
    assert len(await batch.checked()) == 3


async def test_a_bad_chunk_fails_what_comes_after_it_and_the_batch() -> None:
    batch, bad = Batch(), replace(record(), id=bytes(31) + b"!")
    await batch.add([bad], 4 * MIB)
    await batch.add([record()], 4 * MIB)
    with pytest.raises(Invalid, match="does not hash to its id"):
        await batch.add([record()], 4 * MIB)
    with pytest.raises(Invalid, match="does not hash to its id"):
        await batch.checked()


async def test_no_check_outlives_a_batch_whose_sender_went_away(checks: Checks) -> None:
    batch = await two_begun(checks)
    sender = asyncio.create_task(batch.add([record()], 4 * MIB))
    await asyncio.sleep(0.05)
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    abandoned = asyncio.create_task(batch.abandon())
    checks.may_go_on[1].set()
    await asyncio.sleep(0.2)
    assert (abandoned.done(), checks.running) == (False, 1)
    checks.let_all_go_on()
    await abandoned
    assert (checks.running, len(checks.begun)) == (0, 2)


async def test_a_batch_is_full_by_bytes_or_by_chunks_whoever_checked_them() -> None:
    by_bytes, by_count = Batch(), Batch()
    (chunk,) = verify([record()])
    by_bytes.add_checked([replace(chunk, data=bytes(GATHERED_BYTES - 1))])
    by_count.add_checked([replace(chunk, data=b"small")] * (MAX_RECORDS - 1))
    assert not by_bytes.is_full
    assert not by_count.is_full
    await by_bytes.add([record()], 1)
    await by_count.add([record()], 1)
    assert by_bytes.is_full
    assert by_count.is_full
    assert len(await by_count.checked()) == MAX_RECORDS
