"""What came uncompressed is compressed in the background, at its pace, and is readable at every moment."""

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.kit.clock import ManualClock
from app.store.errors import ObjectDamaged
from app.store.folder import FolderBackend
from app.store.gc import Collected, collect
from app.store.index import CompactedPack
from app.store.objects import ObjectStore
from app.store.pack import PackBuilder, SealedPack
from app.wire.chunks import chunk_id
from app.wire.codec import Codec
from tests.store.memory_index import MemoryIndex
from tests.store.world import CHUNK, GRACE, PROJECT, SERVER, Made, World, flip

LONG = GRACE + timedelta(minutes=1)
CHUNKS = 80
PACK = CHUNKS * CHUNK


def text(chunks: int = CHUNKS) -> bytes:
    """Half of each chunk is random and half of it is not: it shrinks by half."""
    return b"".join(secrets.token_bytes(CHUNK // 2) + b"text" * (CHUNK // 8) for _ in range(chunks))


def sent_plain(world: World, data: bytes) -> Made:
    """A checkpoint of one disk, whose chunks came uncompressed."""
    builder = PackBuilder(PROJECT, SERVER)
    for plain in pieces(data):
        builder.add(chunk_id(plain), Codec.NONE, len(plain), plain)
    world.register(builder.seal(), "ses-1")
    return world.checkpoint(data)


def pieces(data: bytes) -> Iterator[bytes]:
    """Its chunks."""
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


async def run(world: World, most: int = 1 << 40) -> Collected:
    return await collect(world.objects, world.index, most)


async def is_whole(world: World, made: Made, data: bytes) -> bool:
    """Whether the checkpoint reads as the disk was."""
    return await world.reader.read(PROJECT, made.ids) == {chunk_id(each): each for each in pieces(data)}


def pack_bytes(world: World) -> int:
    """What the packs of the store take."""
    return sum(pack.info.size for pack in world.objects.packs())


async def test_a_store_of_uncompressed_packs_shrinks(world: World) -> None:
    data = text()
    made = sent_plain(world, data)
    before = pack_bytes(world)
    assert before > PACK
    world.age(LONG)
    assert (await run(world)).compacted_packs == 1
    assert await is_whole(world, made, data)
    world.age(LONG)
    assert (await run(world)).deleted_packs == 1
    assert await is_whole(world, made, data)
    after = pack_bytes(world)
    assert 0.5 * PACK < after < 0.52 * PACK, f"{before} bytes before, {after} after"
    assert (await run(world)).compacted_packs == 0, "once is enough"


async def test_what_no_compression_helps_stays_where_it_is(world: World) -> None:
    data = secrets.token_bytes(PACK)
    made = sent_plain(world, data)
    world.age(LONG)
    assert await run(world) == Collected()
    assert await is_whole(world, made, data)


async def test_young_packs_and_a_pace_of_nothing_are_left_alone(world: World) -> None:
    sent_plain(world, text())
    assert await run(world) == Collected()
    world.age(LONG)
    assert await run(world, 0) == Collected()


async def test_one_run_does_as_much_as_its_pace_lets_it_and_the_next_ones_the_rest(world: World) -> None:
    disks = [text() for _ in range(3)]
    made = [sent_plain(world, data) for data in disks]
    made += [sent_plain(world, noise := secrets.token_bytes(PACK))]
    disks.append(noise)
    world.age(LONG)
    done = 0
    for _ in range(30):
        now = (await run(world, PACK)).compacted_packs
        assert now <= 1
        done += now
    assert done == 3, "whatever cannot be compressed does not keep them waiting"
    for one, data in zip(made, disks, strict=True):
        assert await is_whole(world, one, data)


async def test_a_pack_that_is_rewritten_anyway_is_compressed(world: World) -> None:
    data = text()
    full = sent_plain(world, data)
    part = data[: 3 * CHUNK]
    kept = world.checkpoint(part)
    world.drop(full)
    world.age(LONG)
    assert (await run(world, 0)).compacted_packs == 1
    assert {world.index.chunks[PROJECT, name].codec for name in kept.ids} == {Codec.ZSTD}
    assert await is_whole(world, kept, part)


async def test_it_never_takes_from_the_stores_reserve(world: World) -> None:
    data = text()
    made = sent_plain(world, data)
    world.age(LONG)
    full = ObjectStore(FolderBackend(world.path, 1 << 60), clock=world.clock, grace=GRACE)
    assert await collect(full, world.index, 1 << 40) == Collected()
    assert await is_whole(world, made, data)


def cut_off(file: Path) -> None:
    """The file loses all but its first bytes."""
    os.truncate(file, 1000)


@pytest.mark.parametrize("harm", [Path.unlink, cut_off])
@pytest.mark.parametrize("rest", [0, 3])
async def test_a_pack_that_is_lost_or_cut_off_does_not_stop_garbage_collection(
    world: World, harm: Callable[[Path], None], rest: int
) -> None:
    """A whole one would be sampled; one of which only `rest` chunks live would be rewritten."""
    data, good, gone = text(), text(), secrets.token_bytes(PACK)
    harmed, other, dropped = sent_plain(world, data), sent_plain(world, good), sent_plain(world, gone)
    pack, dead = (world.index.chunks[PROJECT, made.ids[0]].pack for made in (harmed, dropped))
    if rest:
        world.checkpoint(data[: rest * CHUNK])
        world.drop(harmed)
    world.drop(dropped)
    world.age(LONG)
    harm(world.pack_file(pack))
    done = await run(world)
    assert (done.compacted_packs, done.condemned_packs) == (1, 1), "the good one shrinks"
    assert done.damaged == ((pack,) if rest else ())
    world.age(LONG)
    assert (await run(world)).deleted_packs == 2
    assert dead not in {found.name for found in world.objects.packs()}
    assert await is_whole(world, other, good)


class CutIndex(MemoryIndex):
    """The process ends before or after the transaction."""

    def __init__(self, index: MemoryIndex, clock: ManualClock, *, after: bool) -> None:
        super().__init__(clock)
        vars(self).update(vars(index))
        self.cuts, self.after = True, after

    async def relocate(self, new: CompactedPack, now: object) -> bool:
        """Once."""
        done = await super().relocate(new, now) if self.after or not self.cuts else False  # type: ignore[arg-type]
        if self.cuts:
            self.cuts = False
            raise ConnectionError("the process ends here")
        return done


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_half_way_loses_nothing_and_is_made_good(world: World, after: bool) -> None:
    data = text()
    made = sent_plain(world, data)
    world.age(LONG)
    world.index = CutIndex(world.index, world.clock, after=after)
    with pytest.raises(ConnectionError):
        await run(world)
    assert len(list(world.objects.packs())) == 2
    assert await is_whole(world, made, data)
    for _ in range(3):
        world.age(LONG)
        await run(world)
        assert await is_whole(world, made, data)
    assert pack_bytes(world) < 0.52 * PACK, "neither the old pack nor an orphan is left"


async def test_a_new_pack_that_does_not_read_back_takes_no_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = text()
    made = sent_plain(world, data)
    world.age(LONG)
    write = ObjectStore.write_pack

    def damaged(objects: ObjectStore, pack: SealedPack, *, reserved: bool = False) -> None:
        write(objects, pack, reserved=reserved)
        flip(world.pack_file(pack.name), pack.size // 3)

    monkeypatch.setattr(ObjectStore, "write_pack", damaged)
    with pytest.raises(ObjectDamaged, match="does not read back"):
        await run(world)
    assert await is_whole(world, made, data)
