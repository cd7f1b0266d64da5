"""The database comes back from the store, confirmed only as far as commits were."""

import secrets

from app.store.check import check
from app.store.gc import collect
from app.store.layout import NodeKind
from app.store.rebuild import rebuild
from app.wire.chunks import chunk_id
from tests.store.memory_index import MemoryIndex
from tests.store.world import CHUNK, PROJECT, World, flip


def emptied(world: World) -> World:
    return World(world.path, world.clock, world.objects, MemoryIndex(world.clock))


async def test_all_rows_come_back_and_the_store_is_whole(world: World) -> None:
    made = [world.checkpoint(secrets.token_bytes(5 * CHUNK)) for _ in range(3)]
    base = secrets.token_bytes(CHUNK)
    world.checkpoint(base)
    world.put_delta(b"new!" + base[4:], chunk_id(base), base, 1)
    world.checkpoint(b"new!" + base[4:])
    fresh = emptied(world)
    report = await rebuild(fresh.objects, fresh.index)
    assert (report.packs, report.nodes, report.confirmed, report.unconfirmed) == (5, 10, 5, 0)
    assert report.damaged == []
    assert fresh.index.chunks == world.index.chunks
    assert fresh.index.checkpoint_rows == world.index.checkpoint_rows
    assert (await check(fresh.objects, fresh.index, read_data=True)).findings == []
    for item in made:
        assert set(await fresh.reader.read(PROJECT, item.ids)) == set(item.ids)


async def test_a_rebuild_may_be_repeated(world: World) -> None:
    world.checkpoint(secrets.token_bytes(CHUNK))
    fresh = emptied(world)
    await rebuild(fresh.objects, fresh.index)
    chunks, rows = dict(fresh.index.chunks), dict(fresh.index.checkpoint_rows)
    await rebuild(fresh.objects, fresh.index)
    assert (fresh.index.chunks, fresh.index.checkpoint_rows) == (chunks, rows)


async def test_what_a_fenced_commit_left_is_unconfirmed(world: World) -> None:
    world.checkpoint(secrets.token_bytes(CHUNK))
    fenced = world.file_of(world.put_disk(secrets.token_bytes(CHUNK)))
    world.objects.write_checkpoint(fenced)
    fresh = emptied(world)
    report = await rebuild(fresh.objects, fresh.index)
    assert (report.confirmed, report.unconfirmed) == (1, 1)
    assert not fresh.index.checkpoint_rows[fenced.id].confirmed
    await collect(fresh.objects, fresh.index)
    assert [item.confirmed for item in fresh.objects.checkpoints()] == [True, False]


async def test_damaged_objects_are_named_and_left_out(world: World) -> None:
    first, second = (world.checkpoint(secrets.token_bytes(CHUNK)) for _ in range(2))
    pack = world.pack_file(first.packs[0])
    flip(pack, pack.stat().st_size - 5)
    (leaf,) = [name for name in first.nodes if name != first.root.hash]
    flip(world.node_files(NodeKind.LEAF, leaf)[0], 5)
    flip(world.node_files(NodeKind.ROOT, first.root.hash)[0], 5)
    flip(world.checkpoint_file(first.info.name), 5)
    fresh = emptied(world)
    report = await rebuild(fresh.objects, fresh.index)
    assert len(report.damaged) == 4
    assert all(reason for _, reason in report.damaged)
    assert list(fresh.index.checkpoint_rows) == [second.info.name.id]
    assert set(fresh.index.pack_rows) == set(second.packs)


async def test_strangers_in_the_folder_are_passed_over(world: World) -> None:
    made = world.checkpoint(secrets.token_bytes(CHUNK))
    for name in ("packs/aa/notes.txt", "leaves/aa/x", "checkpoints/srv/readme"):
        world.objects.backend.put(name, [b"stranger"])
    report = await rebuild(world.objects, emptied(world).index)
    assert (report.packs, report.confirmed, report.damaged) == (1, 1, [])
    await collect(world.objects, world.index)
    assert (await world.reader.read(PROJECT, made.ids)).keys() == set(made.ids)
