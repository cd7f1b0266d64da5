"""Chunks with the patches over them: the right bytes, few reads, and what is lost is left out."""

from app.store.layers import Layers, layers_of, portions, read_layers
from app.store.layout import pack_key
from app.wire.chunks import chunk_id
from tests.store.test_store_reader import CountingStore, chain, chunks
from tests.store.world import PROJECT, World, flip


async def layers(world: World, ids: list[bytes]) -> list[Layers]:
    """The layers of these chunks."""
    return await layers_of(world.index, PROJECT, await world.index.locate(PROJECT, ids))


def read(world: World, found: list[Layers]) -> dict[bytes, bytes]:
    """What they give."""
    return {each.id: bytes(plain) for each, plain in read_layers(world.objects, found)}


async def test_chunks_and_all_patches_over_one_of_them_come_out(world: World) -> None:
    made, links = chunks(5), chain(world, 8)
    world.put_chunks(made)
    wanted = made | {chunk_id(plain): plain for plain in links}
    found = await layers(world, list(wanted))
    assert read(world, found) == wanted
    assert sorted(each.depth for each in found) == [0] * 6 + list(range(1, 9))
    assert len({each.bottom for each in found if each.id in {chunk_id(plain) for plain in links}}) == 1


async def test_neighbours_are_read_with_one_call(world: World) -> None:
    made = chunks(30)
    world.put_chunks(made)
    found, store = await layers(world, list(made)), CountingStore(world.objects.backend)
    assert len(dict(read_layers(store, found))) == 30
    assert store.reads == 1


async def test_a_chunk_whose_base_has_no_record_is_left_out(world: World) -> None:
    links = chain(world, 3)
    del world.index.chunks[PROJECT, chunk_id(links[1])]
    found = await layers(world, [chunk_id(plain) for plain in links])
    assert [each.id for each in found] == [chunk_id(links[0])]


async def test_a_pack_that_is_gone_costs_its_own_chunks_only(world: World) -> None:
    lost, kept = chunks(3), chunks(3)
    pack = world.put_chunks(lost)
    world.put_chunks(kept)
    found = await layers(world, [*lost, *kept])
    world.objects.delete_pack(pack.name)
    assert read(world, found) == kept


async def test_of_a_pack_that_was_cut_off_all_is_read_that_is_there(world: World) -> None:
    made = chunks(12)
    pack = world.put_chunks(made)
    found = [each for number, each in enumerate(await layers(world, list(made))) if number % 3]
    with (world.path / pack_key(pack.name)).open("r+b") as file:
        file.truncate(found[-2].bottom.offset + 1)
    assert read(world, found) == {each.id: made[each.id] for each in found[:-2]}


async def test_bytes_that_do_not_unpack_are_left_out_and_others_are_not_verified(world: World) -> None:
    made = chunks(2)
    pack = world.put_chunks(made)
    found = await layers(world, list(made))
    flip(world.path / pack_key(pack.name), found[0].bottom.offset)
    assert found[0].id not in read(world, found)
    assert found[1].id in read(world, found)


async def test_portions_keep_the_order_and_the_bound(world: World) -> None:
    made = chunks(10)
    world.put_chunks(made)
    found = await layers(world, list(made))
    assert [len(some) for some in portions(found, 4)] == [4, 4, 2]
    assert [each for some in portions(found, 4) for each in some] == found
