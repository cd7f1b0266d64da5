"""Garbage collection: takes what is dead, never what is live, whatever happens beside it or half-way."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.store.compaction import SMALL_BYTES
from app.store.errors import ObjectMissing, StoreAhead, StoreError
from app.store.gc import Collected, collect
from app.store.index import Candidate, CheckpointInfo, CompactedPack, Objects, ObjectState
from app.store.layout import NodeKind
from app.store.marks import MarkSet
from app.store.retention import RetentionPolicy
from app.store.retire import retire
from app.wire.chunks import chunk_id
from app.wire.tree import RootNode
from tests.store.memory_index import CommitRefusedError, MemoryIndex
from tests.store.world import CHUNK, GRACE, PROJECT, Made, Tree, World, flip

LONG = GRACE + timedelta(minutes=1)


def noise(chunks: int = 4) -> bytes:
    return secrets.token_bytes(chunks * CHUNK)


async def run(world: World) -> Collected:
    return await collect(world.objects, world.index)


async def content(world: World, made: Made | Tree) -> dict[bytes, bytes]:
    """All of a checkpoint, read through its tree. Raises when something is lost."""
    root = world.objects.read_root(made.root.hash)
    for leaf in root.leaf_hashes():
        world.objects.read_leaf(leaf)
    return await world.reader.read(PROJECT, made.ids)


def stored(world: World) -> tuple[int, int]:
    nodes = sum(1 for kind in NodeKind for _ in world.objects.nodes(kind))
    return sum(1 for _ in world.objects.packs()), nodes


async def test_what_a_checkpoint_reaches_stays_for_good(world: World) -> None:
    made = [world.checkpoint(noise()), world.checkpoint(noise())]
    before = [await content(world, item) for item in made]
    for _ in range(4):
        world.age(LONG)
        await run(world)
    assert [await content(world, item) for item in made] == before


async def test_a_dropped_checkpoint_is_condemned_first_and_deleted_a_grace_later(world: World) -> None:
    keep, gone = world.checkpoint(noise()), world.checkpoint(noise())
    world.drop(gone)
    world.age(LONG)
    first = await run(world)
    assert (first.condemned_packs, first.condemned_nodes, first.deleted_packs) == (1, 2, 0)
    assert stored(world) == (2, 4)
    world.age(GRACE / 2)
    assert (await run(world)).deleted_packs == 0
    world.age(LONG)
    last = await run(world)
    assert (last.deleted_packs, last.deleted_nodes) == (1, 2)
    assert stored(world) == (1, 2)
    assert len(world.index.pack_rows) == 1
    await content(world, keep)


async def test_a_repeated_collection_is_harmless(world: World) -> None:
    keep, gone = world.checkpoint(noise()), world.checkpoint(noise())
    world.drop(gone)
    world.age(LONG)
    await run(world)
    assert await run(world) == Collected()
    world.age(LONG)
    await run(world)
    assert await run(world) == Collected()
    await content(world, keep)


async def test_what_is_young_is_left_alone(world: World) -> None:
    world.drop(world.checkpoint(noise()))
    assert await run(world) == Collected()


async def test_what_an_open_session_put_stays_until_the_session_ends(world: World) -> None:
    world.index.open_sessions.add("ses-1")
    tree = world.put_disk(noise())
    world.age(LONG)
    assert await run(world) == Collected()
    made = world.commit(tree)
    world.index.open_sessions.clear()
    await run(world)
    await content(world, made)


async def test_what_an_ended_session_left_uncommitted_goes(world: World) -> None:
    world.index.open_sessions.add("ses-1")
    world.put_disk(noise())
    world.index.open_sessions.clear()
    world.age(LONG)
    assert (await run(world)).condemned_packs == 1


async def test_a_commit_that_refers_to_a_condemned_pack_is_refused_and_succeeds_when_sent_again(
    world: World,
) -> None:
    data = noise()
    tree = world.put_disk(data)
    world.age(LONG)
    await run(world)
    with pytest.raises(CommitRefusedError):
        world.commit(tree)
    again = world.put_disk(data)
    assert again.packs != tree.packs
    made = world.commit(again)
    world.age(LONG)
    await run(world)
    await content(world, made)


class RacingIndex(MemoryIndex):
    """Lets something happen between marking and condemning."""

    def race(self) -> None:
        """What happens then."""

    async def condemn(self, packs: Sequence[Candidate], nodes: Sequence[Candidate], now: datetime) -> Objects:
        self.race()
        return await super().condemn(packs, nodes, now)

    async def relocate(self, new: CompactedPack, now: datetime) -> bool:
        self.race()
        return await super().relocate(new, now)


def racing(world: World) -> RacingIndex:
    index = RacingIndex(**vars(world.index))
    world.index = index
    return index


async def test_a_commit_between_marking_and_condemning_wins(world: World) -> None:
    tree = world.put_disk(noise())
    world.age(LONG)
    made: list[Made] = []
    racing(world).race = lambda: made.append(world.commit(tree))  # type: ignore[method-assign]  # the race
    assert await run(world) == Collected()
    world.age(LONG)
    await run(world)
    await content(world, made[0])


async def test_a_commit_during_compaction_wins(world: World) -> None:
    data = noise(8)
    gone = world.checkpoint(data)
    keep = world.checkpoint(data[:CHUNK] + bytes(7 * CHUNK))
    world.drop(gone)
    world.age(LONG)
    made: list[Made] = []

    def commit_the_dead_ones_again() -> None:
        if not made:
            tree = Tree(gone.root, gone.ids, (), ())
            world.objects.write_root(gone.root)
            made.append(world.commit(tree))

    racing(world).race = commit_the_dead_ones_again  # type: ignore[method-assign]  # the race
    assert (await run(world)).compacted_packs == 0
    for item in (keep, made[0]):
        await world.reader.read(PROJECT, item.ids)


async def test_a_leaf_put_again_while_condemned_outlives_the_deletion(world: World) -> None:
    data = noise()
    world.drop(world.checkpoint(data))
    world.age(LONG)
    await run(world)
    world.age(LONG)
    made = world.checkpoint(data)
    await run(world)
    world.age(LONG)
    await run(world)
    await content(world, made)


async def test_a_deletion_that_is_late_never_hits_what_was_put_again(world: World) -> None:
    """Between listing what is condemned and forgetting it, the same leaf and root are put and committed."""
    data = noise()
    world.drop(world.checkpoint(data))
    world.age(LONG)
    await run(world)
    world.age(LONG)
    made: list[Made] = []

    class Late(MemoryIndex):
        async def condemned_before(self, time: datetime) -> Objects:
            found = await super().condemned_before(time)
            made.append(world.checkpoint(data))
            return found

    index = Late(**vars(world.index))
    world.index = index
    await run(world)
    await content(world, made[0])


async def test_a_crash_between_deleting_and_forgetting_is_repaired_by_the_next_run(world: World) -> None:
    world.drop(world.checkpoint(noise()))
    world.age(LONG)
    await run(world)
    world.age(LONG)

    class Crash(MemoryIndex):
        async def forget(self, objects: Objects) -> None:
            raise ConnectionError("killed")

    whole = world.index
    with pytest.raises(ConnectionError):
        await collect(world.objects, Crash(**vars(whole)))
    assert stored(world) == (0, 0)
    await run(world)
    assert (whole.pack_rows, whole.node_rows) == ({}, {})


async def test_bases_of_live_patches_stay(world: World) -> None:
    base = noise(1)
    old = world.checkpoint(base)
    changed = bytearray(base)
    changed[:4] = b"new!"
    world.put_delta(bytes(changed), chunk_id(base), base, 1)
    further = bytearray(changed)
    further[9000:9004] = b"more"
    world.put_delta(bytes(further), chunk_id(bytes(changed)), bytes(changed), 2)
    made = world.checkpoint(bytes(further))
    assert made.packs == ()
    world.drop(old)
    for _ in range(3):
        world.age(LONG)
        await run(world)
    assert await content(world, made) == {chunk_id(bytes(further)): bytes(further)}


async def test_mostly_dead_packs_are_emptied_into_new_ones(world: World) -> None:
    data = noise(80)
    full = world.checkpoint(data)
    part = world.checkpoint(data[: 3 * CHUNK] + bytes(77 * CHUNK))
    before = await content(world, part)
    world.drop(full)
    world.age(LONG)
    assert (await run(world)).compacted_packs == 1
    assert await content(world, part) == before
    world.age(LONG)
    assert (await run(world)).deleted_packs == 1
    assert await content(world, part) == before
    (pack,) = [world.objects.read_pack_index(item.name) for item in world.objects.packs()]
    assert {entry.id for entry in pack.entries} == set(part.ids)
    assert (pack.owner.project, pack.owner.server) == (PROJECT, "srv-one")


async def test_small_packs_are_joined_and_servers_are_not_mixed(world: World) -> None:
    made = [world.checkpoint(noise(2)) for _ in range(5)]
    other = noise(1)
    world.put_chunks({chunk_id(other): other}, server="srv-two")
    mixed = world.checkpoint(other)
    assert all(row.stored_bytes < SMALL_BYTES for row in world.index.pack_rows.values())
    world.age(LONG)
    assert (await run(world)).compacted_packs == 5
    world.age(LONG)
    await run(world)
    assert stored(world)[0] == 2
    for item in [*made, mixed]:
        await content(world, item)


async def test_a_pack_whose_live_chunks_are_damaged_is_never_compacted(world: World) -> None:
    data = noise(80)
    full = world.checkpoint(data)
    world.checkpoint(data[: 3 * CHUNK] + bytes(77 * CHUNK))
    flip(world.pack_file(full.packs[0]), CHUNK)
    world.drop(full)
    world.age(LONG)
    done = await run(world)
    assert (done.compacted_packs, done.damaged) == (0, full.packs)
    assert stored(world)[0] == 1


async def test_damage_where_nothing_lives_goes_with_the_old_pack(world: World) -> None:
    data = noise(80)
    full = world.checkpoint(data)
    kept = world.checkpoint(data[: 3 * CHUNK] + bytes(77 * CHUNK))
    flip(world.pack_file(full.packs[0]), 50 * CHUNK)
    world.drop(full)
    world.age(LONG)
    done = await run(world)
    assert (done.compacted_packs, done.damaged) == (1, ())
    assert set(await world.reader.read(PROJECT, kept.ids)) == set(kept.ids)


async def test_objects_without_a_row_go_when_they_are_old(world: World) -> None:
    keep = world.checkpoint(noise())
    known = stored(world)
    other = World(world.path, world.clock, world.objects, MemoryIndex(world.clock))
    tree = other.put_disk(noise())
    world.objects.write_checkpoint(world.file_of(tree))
    assert (await run(world)).orphans == 0
    world.age(LONG)
    assert (await run(world)).orphans == 4
    assert stored(world) == known
    assert [item.name for item in world.objects.checkpoints()] == [keep.info.name]
    await content(world, keep)


async def test_an_empty_database_does_not_make_the_store_garbage(world: World) -> None:
    world.checkpoint(noise())
    world.age(LONG)
    before = stored(world)
    with pytest.raises(StoreAhead, match="does not know"):
        await collect(world.objects, MemoryIndex(world.clock))
    assert stored(world) == before


async def test_a_tree_that_cannot_be_read_stops_the_collection(world: World) -> None:
    made, gone = world.checkpoint(noise()), world.checkpoint(noise())
    world.drop(gone)
    (leaf,) = [name for name in made.nodes if name != made.root.hash]
    for file in world.node_files(NodeKind.LEAF, leaf):
        file.unlink()
    world.age(LONG)
    before = stored(world)
    with pytest.raises(StoreError, match="nothing is collected") as caught:
        await run(world)
    assert caught.value.code == "COLLECTION_STOPPED"
    assert stored(world) == before
    assert all(row.state is ObjectState.LIVE for row in world.index.pack_rows.values())


async def test_a_commit_marker_that_a_crash_left_out_is_written(world: World) -> None:
    made = world.checkpoint(noise())
    world.objects.unconfirm_checkpoint(made.info.name)
    await run(world)
    assert [item.confirmed for item in world.objects.checkpoints()] == [True]


async def test_a_checkpoint_dropped_by_another_process_meanwhile_is_no_alarm(world: World) -> None:
    keep, gone = world.checkpoint(noise()), world.checkpoint(noise())

    class Dropping(MemoryIndex):
        async def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
            if gone.info.name.id in self.checkpoint_rows:
                world.drop(gone)
            async for row in super().checkpoints():
                yield row

    world.index = Dropping(**vars(world.index))
    await run(world)
    await content(world, keep)


async def test_a_marker_written_while_its_checkpoint_was_dropped_goes_again(world: World) -> None:
    gone = world.checkpoint(noise())
    file = world.objects.read_checkpoint(gone.info.name)
    world.objects.unconfirm_checkpoint(gone.info.name)

    class Dropping(MemoryIndex):
        seen = 0

        async def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
            self.seen += 1
            if self.seen == 2:
                del self.checkpoint_rows[gone.info.name.id]
            async for row in super().checkpoints():
                yield row

    world.index = Dropping(**vars(world.index))
    await run(world)
    assert not world.objects.is_confirmed(file)
    await run(world)


async def test_another_project_keeps_nothing_alive(world: World) -> None:
    plain = noise(1)
    world.put_chunks({chunk_id(plain): plain}, project="prj-two")
    world.checkpoint(plain)
    world.age(LONG)
    assert (await run(world)).condemned_packs == 1


async def test_retired_checkpoints_lose_marker_rows_and_file_and_pinned_ones_stay(world: World) -> None:
    data = noise()
    made = [world.checkpoint(data) for _ in range(6)]
    rows = world.index.checkpoint_rows
    for age, item in enumerate(reversed(made)):
        time = world.clock.now() - timedelta(days=30 * age)
        rows[item.info.name.id] = replace(item.info, made_at=time, pinned=age == 3)
    dropped = await retire(world.objects, world.index, {}, RetentionPolicy())
    assert {item.name.number for item in dropped} == {1, 2, 4, 5}
    assert [item.name.number for item in world.objects.checkpoints()] == [3, 6]
    assert {row.name.number for row in rows.values()} == {3, 6}
    await run(world)


async def test_a_checkpoint_that_got_pinned_meanwhile_gets_its_marker_back(world: World) -> None:
    made = [world.checkpoint(noise()) for _ in range(2)]
    old = made[0].info
    rows = world.index.checkpoint_rows
    rows[old.name.id] = replace(old, is_frozen=False, made_at=old.made_at - timedelta(days=30))

    class Pinned(MemoryIndex):
        async def drop_checkpoint(self, name: object) -> bool:
            return False

    dropped = await retire(world.objects, Pinned(**vars(world.index)), {}, RetentionPolicy())
    assert dropped == ()
    assert [item.confirmed for item in world.objects.checkpoints()] == [True, True]


def test_a_mark_is_never_lost_and_rarely_invented() -> None:
    marks = MarkSet(20_000)
    names = [secrets.token_bytes(32) for _ in range(20_000)]
    marks.add_all(names)
    assert all(name in marks for name in names)
    assert sum(secrets.token_bytes(32) in marks for _ in range(20_000)) < 40


async def test_a_node_that_never_was_is_missing(world: World) -> None:
    with pytest.raises(ObjectMissing):
        world.objects.read_root(RootNode.empty(CHUNK, CHUNK).hash)
