"""Reading chunks: right bytes or a named error, few reads, chains of patches."""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import replace

import pytest

from app.store.backend import Range
from app.store.errors import ObjectDamaged, ObjectMissing, StoreError
from app.store.objects import ObjectStore
from app.store.pack import MAX_DEPTH
from app.store.reader import ChunkReader
from app.wire.chunks import chunk_id
from app.wire.codec import Codec, decode
from tests.store.world import CHUNK, PROJECT, World, flip


class CountingStore(ObjectStore):
    """Counts ranged reads, and on which threads they run."""

    reads = 0
    threads: set[int] = set()  # noqa: RUF012

    def read_spans(self, pack: bytes, spans: Sequence[Range]) -> Iterator[bytes]:
        self.reads += len(spans)
        self.threads = self.threads | {threading.get_ident()}
        return super().read_spans(pack, spans)


def chunks(count: int) -> dict[bytes, bytes]:
    made = [secrets.token_bytes(CHUNK // 2) + bytes(CHUNK // 2) for _ in range(count)]
    return {chunk_id(plain): plain for plain in made}


def chain(world: World, depth: int) -> list[bytes]:
    """Chunks of which each is stored as a patch of the one before; the first is whole."""
    plain = secrets.token_bytes(CHUNK)
    world.put_chunks({chunk_id(plain): plain})
    made = [plain]
    for level in range(1, depth + 1):
        changed = bytearray(made[-1])
        changed[level * 4096 : level * 4096 + 10] = b"0123456789"
        world.put_delta(bytes(changed), chunk_id(made[-1]), made[-1], level)
        made.append(bytes(changed))
    return made


async def records(reader: ChunkReader, ids: Iterable[bytes]) -> dict[bytes, bytes]:
    found = [record async for record in reader.stored_records(PROJECT, ids)]
    assert all(record.codec is not Codec.DELTA for record in found)
    return {record.id: bytes(decode(record.codec, record.data, record.raw_length)) for record in found}


async def test_chunks_read_back_from_several_packs_each_once(world: World) -> None:
    first, second = chunks(20), chunks(20)
    world.put_chunks(first)
    world.put_chunks(second)
    wanted = [*first, *second, *first]
    found = [item async for item in world.reader.chunks(PROJECT, wanted)]
    assert len(found) == 40
    assert dict(found) == first | second
    assert await records(world.reader, wanted) == first | second


async def test_neighbours_are_read_at_once_and_off_the_loop(world: World) -> None:
    made = chunks(30)
    world.put_chunks(made)
    store = CountingStore(world.objects.backend)
    await ChunkReader(store, world.index).read(PROJECT, made)
    assert store.reads == 1
    assert threading.get_ident() not in store.threads


async def test_memory_is_bounded_by_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.reader.BATCH_BYTES", 4 * CHUNK)
    made = chunks(30)
    world.put_chunks(made)
    store = CountingStore(world.objects.backend)
    assert await ChunkReader(store, world.index).read(PROJECT, made) == made
    assert store.reads == 8


async def test_a_stream_reads_one_batch_ahead_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.reader.STREAMED_BYTES", 4 * CHUNK)
    made = chunks(30)
    world.put_chunks(made)
    store = CountingStore(world.objects.backend)
    stream = ChunkReader(store, world.index).stored_records(PROJECT, made)
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    assert store.reads == 2
    assert await records(ChunkReader(store, world.index), made) == made
    assert store.reads == 2 + 8


async def test_a_stream_ends_with_the_error_of_the_batch_that_is_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.reader.STREAMED_BYTES", 4 * CHUNK)
    made = chunks(30)
    world.put_chunks(made)
    locations = sorted(world.index.chunks.items(), key=lambda item: item[1].offset)
    (project, name), last = locations[-1]
    world.index.chunks[project, name] = replace(last, offset=1 << 40)
    stream = world.reader.stored_records(PROJECT, made)
    assert {(await anext(stream)).id for _ in range(28)} < made.keys()
    with pytest.raises(StoreError):
        await anext(stream)


async def test_more_ids_than_one_lookup_takes(world: World) -> None:
    made = [number.to_bytes(4, "big") * 2 for number in range(1, 5001)]
    world.put_chunks({chunk_id(plain): plain for plain in made})
    found = await world.reader.read(PROJECT, map(chunk_id, made))
    assert sorted(found.values()) == made


@pytest.mark.parametrize("depth", [1, 3, MAX_DEPTH])
async def test_a_chain_of_patches_is_resolved(world: World, depth: int) -> None:
    made = chain(world, depth)
    wanted = {chunk_id(plain): plain for plain in made}
    assert await world.reader.read(PROJECT, wanted) == wanted
    assert await world.reader.read(PROJECT, [chunk_id(made[-1])]) == {chunk_id(made[-1]): made[-1]}
    assert await records(world.reader, wanted) == wanted


async def test_a_ring_of_patches_ends_in_a_named_error(world: World) -> None:
    made = chain(world, 2)
    first, last = chunk_id(made[1]), chunk_id(made[2])
    world.index.chunks[PROJECT, first] = replace(world.index.chunks[PROJECT, first], base=last)
    with pytest.raises(ObjectDamaged, match="chain"):
        await world.reader.read(PROJECT, [last])


async def test_a_missing_chunk_is_named(world: World) -> None:
    made = chunks(3)
    world.put_chunks(made)
    stranger = secrets.token_bytes(32)
    with pytest.raises(ObjectMissing, match=stranger.hex()):
        await world.reader.read(PROJECT, [*made, stranger])


async def test_a_chunk_of_another_project_is_missing(world: World) -> None:
    made = chunks(1)
    world.put_chunks(made, project="prj-two")
    with pytest.raises(ObjectMissing):
        await world.reader.read(PROJECT, made)


async def test_a_flipped_bit_never_passes_as_content(world: World) -> None:
    made = chunks(3)
    pack = world.put_chunks(made)
    flip(world.pack_file(pack.name), pack.entries[1].offset + 100)
    with pytest.raises(ObjectDamaged, match=pack.entries[1].id.hex()):
        await world.reader.read(PROJECT, made)


async def test_a_damaged_base_is_found_through_its_patch(world: World) -> None:
    made = chain(world, 2)
    base = world.index.chunks[PROJECT, chunk_id(made[0])]
    flip(world.pack_file(base.pack), base.offset + 60_000)
    with pytest.raises(ObjectDamaged):
        await world.reader.read(PROJECT, [chunk_id(made[-1])])


async def test_a_missing_pack_is_named(world: World) -> None:
    made = chunks(1)
    pack = world.put_chunks(made)
    world.pack_file(pack.name).unlink()
    with pytest.raises(ObjectMissing, match=pack.name.hex()):
        await world.reader.read(PROJECT, made)


async def test_the_loop_runs_on_while_chunks_are_read(world: World) -> None:
    made = chunks(200)
    world.put_chunks(made)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await world.reader.read(PROJECT, made)
    ticking.cancel()
    assert ticks > 10


async def test_a_flipped_bit_in_a_patch_never_passes_as_content(world: World) -> None:
    made = chain(world, 1)
    at = world.index.chunks[PROJECT, chunk_id(made[1])]
    flip(world.pack_file(at.pack), at.offset + at.stored_length - 1)
    with pytest.raises(ObjectDamaged, match=chunk_id(made[1]).hex()):
        await world.reader.read(PROJECT, [chunk_id(made[1])])
