"""The store's objects: everything read is verified, everything written is durable and found again."""

import secrets

import pytest

from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.layout import NodeKind
from app.wire.tree import LEAF_BYTES, ZERO_IDS, ZERO_LEAF, RootNode
from tests.store.world import CHUNK, GRACE, World, flip


def test_a_leaf_and_a_root_read_back_by_their_hashes(world: World) -> None:
    ids = secrets.token_bytes(LEAF_BYTES)
    leaf = world.objects.write_leaf(ids)
    root = RootNode(CHUNK, CHUNK, leaf)
    assert world.objects.write_root(root) == root.hash
    assert world.objects.read_leaf(leaf) == ids
    assert world.objects.read_root(root.hash) == root


def test_a_leaf_of_zeros_is_never_stored(world: World) -> None:
    assert world.objects.write_leaf(ZERO_IDS) == ZERO_LEAF
    assert world.objects.read_leaf(ZERO_LEAF) == ZERO_IDS
    assert list(world.objects.nodes(NodeKind.LEAF)) == []


def test_a_leaf_written_again_soon_is_not_written_twice(world: World) -> None:
    ids = secrets.token_bytes(LEAF_BYTES)
    assert world.objects.write_leaf(ids) == world.objects.write_leaf(ids)
    assert len(list(world.objects.nodes(NodeKind.LEAF))) == 1


def test_a_leaf_that_could_be_collected_any_moment_is_written_anew_beside_the_old_one(world: World) -> None:
    ids = secrets.token_bytes(LEAF_BYTES)
    leaf = world.objects.write_leaf(ids)
    world.clock.advance(GRACE / 2)
    world.objects.write_leaf(ids)
    assert len(world.node_files(NodeKind.LEAF, leaf)) == 2


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_node_is_named_and_heals_by_being_put_again(world: World, cut: bool) -> None:
    ids = secrets.token_bytes(LEAF_BYTES)
    leaf = world.objects.write_leaf(ids)
    (file,) = world.node_files(NodeKind.LEAF, leaf)
    if cut:
        file.write_bytes(ids[:-1])
    else:
        flip(file, 100)
    with pytest.raises(ObjectDamaged, match=leaf.hex()):
        world.objects.read_leaf(leaf)
    world.clock.advance(GRACE)
    world.objects.write_leaf(ids)
    assert world.objects.read_leaf(leaf) == ids


def test_missing_nodes_are_named(world: World) -> None:
    name = secrets.token_bytes(32)
    with pytest.raises(ObjectMissing, match=name.hex()):
        world.objects.read_leaf(name)
    with pytest.raises(ObjectMissing, match=name.hex()):
        world.objects.read_root(name)


def test_a_pack_is_verified_whole(world: World) -> None:
    (name,) = world.put_disk(secrets.token_bytes(3 * CHUNK)).packs
    good, _ = world.objects.examine_pack(name)
    assert good.index
    assert (len(good.index.entries), good.fault, good.damaged) == (3, None, frozenset())
    flip(world.pack_file(name), 200)
    damaged, _ = world.objects.examine_pack(name)
    assert damaged.fault
    assert damaged.damaged


def test_a_pack_that_was_cut_off_is_named(world: World) -> None:
    (name,) = world.put_disk(secrets.token_bytes(3 * CHUNK)).packs
    data = world.pack_file(name).read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        world.pack_file(name).write_bytes(data[:length])
        with pytest.raises(ObjectDamaged, match=name.hex()):
            world.objects.read_pack_index(name)


def test_a_checkpoint_counts_as_confirmed_from_its_marker_on(world: World) -> None:
    file = world.file_of(world.put_disk(secrets.token_bytes(CHUNK)))
    world.objects.write_checkpoint(file)
    (stored,) = world.objects.checkpoints()
    assert (stored.name, stored.has_file, stored.confirmed) == (file.name, True, False)
    assert not world.objects.is_confirmed(file)
    world.objects.confirm_checkpoint(file)
    world.objects.confirm_checkpoint(file)
    assert world.objects.is_confirmed(file)
    assert world.objects.read_checkpoint(file.name) == file
    assert [item.confirmed for item in world.objects.checkpoints()] == [True]


def test_a_marker_of_another_file_is_damage(world: World) -> None:
    file = world.file_of(world.put_disk(secrets.token_bytes(CHUNK)))
    world.objects.write_checkpoint(file)
    world.objects.confirm_checkpoint(file)
    flip(world.path / file.name.marker, 0)
    with pytest.raises(ObjectDamaged, match="committed"):
        world.objects.is_confirmed(file)


def test_checkpoints_are_listed_by_server_and_number(world: World) -> None:
    tree = world.put_disk(secrets.token_bytes(CHUNK))
    files = [world.file_of(tree, server) for server in ["srv-b", "srv-a"] for _ in range(11)]
    for file in files:
        world.objects.write_checkpoint(file)
    listed = [(item.name.server, item.name.number) for item in world.objects.checkpoints()]
    assert listed == [(server, number) for server in ("srv-a", "srv-b") for number in range(1, 12)]
    world.objects.delete_checkpoint(files[0].name)
    world.objects.delete_checkpoint(files[0].name)
    assert len(world.objects.checkpoints()) == 21
