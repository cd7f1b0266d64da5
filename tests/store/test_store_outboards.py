"""Outboards beside their chunks in packs: right or left out, for chunks and the patches over them."""

import secrets
from dataclasses import replace

from app.store.gc import collect
from app.store.layers import Layers, layers_of
from app.store.layout import pack_key
from app.store.outboard import hashed
from app.store.outboards import read_outboards
from app.wire.buffers import Buffer
from app.wire.chunks import chunk_id
from app.wire.patch import patched_copy
from tests.store.test_store_reader import CountingStore, chain, chunks
from tests.store.world import CHUNK, PROJECT, World, flip


async def layers(world: World, ids: list[bytes]) -> list[Layers]:
    """The layers of these chunks."""
    return await layers_of(world.index, PROJECT, await world.index.locate(PROJECT, ids))


async def read(world: World, ids: list[bytes]) -> dict[bytes, bytes]:
    """The outboards that are found of these chunks."""
    found = read_outboards(world.objects, await layers(world, ids))
    return {each.layers.id: each.outboard for each in found}


def own(plain: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What they should be."""
    return {name: hashed(data)[1] for name, data in plain.items()}


async def test_chunks_and_all_patches_over_one_of_them_have_theirs(world: World) -> None:
    made = chunks(5) | {chunk_id(plain): plain for plain in chain(world, 8)}
    world.put_chunks(dict(list(made.items())[:5]))
    assert len(made) == 14
    assert await read(world, list(made)) == own(made)


async def test_the_patches_of_a_chain_come_in_their_order(world: World) -> None:
    links = chain(world, 3)
    (found,) = read_outboards(world.objects, await layers(world, [chunk_id(links[3])]))
    assert [patch.extents for patch in found.patches] == [((block, 1),) for block in (1, 2, 3)]
    plain: Buffer = links[0]
    for patch in found.patches:
        plain = patched_copy(plain, patch, CHUNK)
    assert plain == links[3]


async def test_of_neighbours_they_are_read_with_one_call_and_nothing_of_the_chunks(world: World) -> None:
    made = chunks(30)
    pack = world.put_chunks(made)
    with (world.path / pack_key(pack.name)).open("r+b") as file:
        file.write(bytes(pack.entries[-1].end))
    store = CountingStore(world.objects.backend)
    found = list(read_outboards(store, await layers(world, list(made))))
    assert {each.layers.id: each.outboard for each in found} == own(made)
    assert (store.reads, {each.patches for each in found}) == (1, {()})


async def test_a_damaged_one_is_left_out(world: World) -> None:
    made = chunks(12)
    pack = world.put_chunks(made)
    index = world.objects.read_pack_index(pack.name)
    (spoilt, (at, _)) = list(index.outboards())[7]
    flip(world.pack_file(pack.name), at + 100)
    examined, _ = world.objects.examine_pack(pack.name)
    assert (examined.damaged, f"1, first {spoilt.hex()}" in str(examined.fault)) == (frozenset(), True)
    assert await read(world, list(made)) == own({name: made[name] for name in made if name != spoilt})


async def test_a_damaged_patch_leaves_out_what_stands_on_it(world: World) -> None:
    links = chain(world, 4)
    at = (await world.index.locate(PROJECT, [chunk_id(links[2])]))[chunk_id(links[2])]
    flip(world.pack_file(at.pack), at.offset + at.stored_length - 1)
    found = await read(world, [chunk_id(plain) for plain in links])
    assert found == own({chunk_id(plain): plain for plain in links[:2]})


async def test_a_pack_that_is_gone_costs_its_own_chunks_only(world: World) -> None:
    lost, kept = chunks(3), chunks(3)
    pack = world.put_chunks(lost)
    world.put_chunks(kept)
    world.objects.delete_pack(pack.name)
    assert await read(world, [*lost, *kept]) == own(kept)


async def test_a_chunk_that_the_footer_does_not_name_has_none(world: World) -> None:
    """The database is wrong about where it is."""
    made, other = chunks(1), chunks(1)
    pack = world.put_chunks(other)
    world.put_chunks(made)
    (found,) = await layers(world, list(made))
    moved = replace(found, records=((found.id, replace(found.bottom, pack=pack.name)),))
    assert list(read_outboards(world.objects, [moved])) == []


async def test_packs_that_were_written_without_have_none(world: World, without_outboards: None) -> None:
    made = chunks(3)
    world.put_chunks(made)
    assert await read(world, list(made)) == {}


async def test_what_is_small_when_compressed_is_kept_without(world: World) -> None:
    plain = secrets.token_bytes(1024) + bytes(CHUNK - 1024)
    pack = world.put_chunks({chunk_id(plain): plain})
    assert list(world.objects.read_pack_index(pack.name).outboards()) == []


async def test_compaction_takes_them_along(world: World) -> None:
    data = secrets.token_bytes(80 * CHUNK)
    full = world.checkpoint(data)
    part = world.checkpoint(data[: 3 * CHUNK] + bytes(77 * CHUNK))
    pack = full.packs[0]
    spoilt = dict(world.objects.read_pack_index(pack).outboards())[part.ids[1]]
    flip(world.pack_file(pack), spoilt[0])
    world.drop(full)
    world.age(2 * world.objects.grace)
    await collect(world.objects, world.index, 1 << 40)
    where = await world.index.locate(PROJECT, part.ids)
    assert {at.pack for at in where.values()}.isdisjoint(full.packs)
    plain = {part.ids[at]: data[at * CHUNK : (at + 1) * CHUNK] for at in (0, 2)}
    assert await read(world, list(part.ids)) == own(plain)
