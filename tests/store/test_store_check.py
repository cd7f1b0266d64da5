"""Checking finds every kind of damage by its name, marks what must be sent again, and harms nothing."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.store.check import check
from app.store.findings import MEANING, CheckProgress, CheckReport, FindingKind
from app.store.layout import NodeKind
from app.store.pack import RECORD
from app.wire.chunks import ID_BYTES, chunk_id
from tests.store.memory_index import MemoryIndex
from tests.store.world import CHUNK, PROJECT, Made, World, flip

Kinds = set[FindingKind]


async def run(world: World, *, read_data: bool = True) -> CheckReport:
    return await check(world.objects, world.index, read_data=read_data)


def kinds(report: CheckReport) -> Kinds:
    return {finding.kind for finding in report.findings}


def leaf_of(made: Made) -> bytes:
    (leaf,) = [name for name in made.nodes if name != made.root.hash]
    return leaf


def node_file(world: World, kind: NodeKind, name: bytes) -> Path:
    (file,) = world.node_files(kind, name)
    return file


async def test_a_whole_store_has_no_finding(world: World) -> None:
    for _ in range(3):
        world.checkpoint(secrets.token_bytes(5 * CHUNK))
    report = await run(world)
    assert report.is_whole
    assert report.findings == []
    assert (report.checkpoints, report.nodes, report.packs, report.packs_read) == (3, 6, 3, 3)
    assert report.bytes_read == sum(row.stored_bytes for row in world.index.pack_rows.values())


Damage = Callable[[World, Made], None]


def lose_file(world: World, made: Made) -> None:
    world.checkpoint_file(made.info.name).unlink()


def flip_file(world: World, made: Made) -> None:
    flip(world.checkpoint_file(made.info.name), 100)


def change_row(world: World, made: Made) -> None:
    disk = replace(made.info.disks[0], size=made.root.size + 1)
    world.index.checkpoint_rows[made.info.name.id] = replace(made.info, disks=(disk,))


def lose_checkpoint_row(world: World, made: Made) -> None:
    del world.index.checkpoint_rows[made.info.name.id]


def lose_marker(world: World, made: Made) -> None:
    world.objects.unconfirm_checkpoint(made.info.name)


def lose_marker_and_file(world: World, made: Made) -> None:
    lose_marker(world, made)
    lose_file(world, made)


def flip_marker(world: World, made: Made) -> None:
    flip(world.path / made.info.name.marker, 10)


def lose_root(world: World, made: Made) -> None:
    node_file(world, NodeKind.ROOT, made.root.hash).unlink()


def flip_root(world: World, made: Made) -> None:
    flip(node_file(world, NodeKind.ROOT, made.root.hash), 30)


def lose_leaf(world: World, made: Made) -> None:
    node_file(world, NodeKind.LEAF, leaf_of(made)).unlink()


def flip_leaf(world: World, made: Made) -> None:
    flip(node_file(world, NodeKind.LEAF, leaf_of(made)), 30)


def lose_leaf_row(world: World, made: Made) -> None:
    del world.index.node_rows[leaf_of(made)]


def lose_chunk_row(world: World, made: Made) -> None:
    del world.index.chunks[PROJECT, made.ids[0]]


def move_chunk_row(world: World, made: Made) -> None:
    at = world.index.chunks[PROJECT, made.ids[0]]
    world.index.chunks[PROJECT, made.ids[0]] = replace(at, offset=at.offset + 1)


def lose_pack(world: World, made: Made) -> None:
    world.pack_file(made.packs[0]).unlink()


def cut_pack(world: World, made: Made) -> None:
    file = world.pack_file(made.packs[0])
    file.write_bytes(file.read_bytes()[:-1])


def lose_pack_row(world: World, made: Made) -> None:
    del world.index.pack_rows[made.packs[0]]


DAMAGES: list[tuple[Damage, FindingKind, int]] = [
    (lose_file, FindingKind.CHECKPOINT_FILE_MISSING, 0),
    (flip_file, FindingKind.CHECKPOINT_FILE_DAMAGED, 0),
    (change_row, FindingKind.CHECKPOINT_FILE_DIFFERS, 0),
    (lose_checkpoint_row, FindingKind.CHECKPOINT_UNKNOWN, 0),
    (lose_marker, FindingKind.CHECKPOINT_UNMARKED, 0),
    (lose_root, FindingKind.ROOT_MISSING, 0),
    (flip_root, FindingKind.ROOT_DAMAGED, 0),
    (lose_leaf, FindingKind.LEAF_MISSING, 0),
    (flip_leaf, FindingKind.LEAF_DAMAGED, 0),
    (lose_leaf_row, FindingKind.NODE_UNKNOWN, 0),
    (lose_chunk_row, FindingKind.CHUNK_UNKNOWN, 1),
    (move_chunk_row, FindingKind.CHUNK_MISPLACED, 1),
    (lose_pack, FindingKind.PACK_MISSING, 5),
    (cut_pack, FindingKind.PACK_DAMAGED, 5),
    (lose_pack_row, FindingKind.PACK_UNKNOWN, 0),
]


@pytest.mark.parametrize("read_data", [False, True])
@pytest.mark.parametrize(
    ("damage", "kind", "resent"), DAMAGES, ids=lambda item: getattr(item, "__name__", None)
)
async def test_each_damage_has_its_name_and_what_is_lost_is_sent_again(
    world: World, damage: Damage, kind: FindingKind, resent: int, read_data: bool
) -> None:
    world.checkpoint(secrets.token_bytes(5 * CHUNK))
    made = world.checkpoint(secrets.token_bytes(5 * CHUNK))
    damage(world, made)
    report = await run(world, read_data=read_data)
    assert kinds(report) == {kind}
    assert len(world.index.damaged) == resent == report.chunks_damaged
    assert str(report.findings[0]).startswith(f"{kind}: {MEANING[kind]}")


async def test_a_flipped_bit_in_a_chunk_is_found_by_reading_and_only_that_chunk_is_sent_again(
    world: World,
) -> None:
    made = world.checkpoint(secrets.token_bytes(5 * CHUNK))
    at = world.index.chunks[PROJECT, made.ids[2]]
    flip(world.pack_file(at.pack), at.offset + 1000)
    assert (await run(world, read_data=False)).is_whole
    report = await run(world)
    assert kinds(report) == {FindingKind.PACK_DAMAGED}
    assert world.index.damaged == {(PROJECT, made.ids[2])}


async def test_a_chunk_marked_damaged_that_reads_well_is_whole_again(world: World) -> None:
    made = world.checkpoint(secrets.token_bytes(5 * CHUNK))
    world.index.damaged.add((PROJECT, made.ids[0]))
    await run(world, read_data=False)
    assert world.index.damaged
    await run(world)
    assert world.index.damaged == set()


async def test_a_patch_whose_base_is_damaged_is_damaged_itself(world: World) -> None:
    base = secrets.token_bytes(CHUNK)
    world.checkpoint(base)
    changed = b"new!" + base[4:]
    patched = world.put_delta(changed, chunk_id(base), base, 1)
    world.checkpoint(changed)
    at = world.index.chunks[PROJECT, chunk_id(base)]
    flip(world.pack_file(at.pack), at.offset + 50_000)
    report = await run(world)
    assert world.index.damaged == {(PROJECT, chunk_id(base)), (PROJECT, patched)}
    assert kinds(report) == {FindingKind.PACK_DAMAGED, FindingKind.CHUNK_DAMAGED}


async def test_a_patch_that_reads_well_is_not_suspected_for_damage_beside_it(world: World) -> None:
    base = secrets.token_bytes(CHUNK)
    world.checkpoint(base)
    changed = b"new!" + base[4:]
    patched = world.put_delta(changed, chunk_id(base), base, 1)
    world.checkpoint(changed)
    at = world.index.chunks[PROJECT, patched]
    header_of_the_record = at.offset - ID_BYTES - RECORD.size
    flip(world.pack_file(at.pack), header_of_the_record)
    report = await run(world)
    assert kinds(report) == {FindingKind.PACK_DAMAGED_UNUSED}
    assert report.is_whole
    assert world.index.damaged == set()


async def test_a_damaged_chunk_that_is_read_from_another_pack_by_now_harms_nothing(world: World) -> None:
    made = world.checkpoint(secrets.token_bytes(5 * CHUNK))
    at = world.index.chunks[PROJECT, made.ids[2]]
    plain = (await world.reader.read(PROJECT, [made.ids[2]]))[made.ids[2]]
    flip(world.pack_file(at.pack), at.offset + 1000)
    assert not (await run(world)).is_whole
    del world.index.chunks[PROJECT, made.ids[2]]
    world.put_chunks({made.ids[2]: plain})
    report = await run(world)
    assert kinds(report) == {FindingKind.PACK_DAMAGED_UNUSED}
    assert report.is_whole


@pytest.mark.parametrize("damage", [lose_file, flip_file, lose_marker_and_file, flip_marker])
async def test_a_checkpoint_file_or_marker_that_cannot_be_read_is_written_again(
    world: World, damage: Damage
) -> None:
    made = world.checkpoint(secrets.token_bytes(CHUNK))
    damage(world, made)
    report = await run(world)
    assert len(report.findings) == 1
    assert "written again from the database" in report.findings[0].detail
    assert (await run(world)).findings == []
    assert world.objects.is_confirmed(world.objects.read_checkpoint(made.info.name))


async def test_the_file_of_a_checkpoint_that_is_being_dropped_is_not_written_again(world: World) -> None:
    made = world.checkpoint(secrets.token_bytes(CHUNK))
    lose_file(world, made)
    world.index.files.clear()
    report = await run(world)
    assert "dropped meanwhile" in report.findings[0].detail
    assert not world.checkpoint_file(made.info.name).exists()


async def test_the_parts_of_a_subset_together_read_every_pack_once(world: World) -> None:
    for _ in range(12):
        world.checkpoint(secrets.token_bytes(CHUNK))
    parts = [await check(world.objects, world.index, read_data=True, subset=(n, 5)) for n in range(1, 6)]
    assert sum(part.packs_read for part in parts) == 12
    assert all(part.packs == 12 for part in parts)


@pytest.mark.parametrize("subset", [(0, 3), (4, 3), (1, 0)])
async def test_a_subset_that_is_none_is_refused(world: World, subset: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="subset"):
        await check(world.objects, world.index, read_data=True, subset=subset)


async def test_progress_is_told_to_its_end(world: World) -> None:
    world.checkpoint(secrets.token_bytes(CHUNK))
    told: list[CheckProgress] = []
    await check(world.objects, world.index, read_data=True, progress=told.append)
    assert [(item.stage, item.done, item.total) for item in told] == [
        ("checkpoints", 1, 1),
        ("trees", 1, 1),
        ("data", 1, 1),
    ]


async def test_an_empty_store_is_whole(world: World) -> None:
    assert (await check(world.objects, MemoryIndex(world.clock), read_data=True)).is_whole


def test_every_kind_of_finding_has_a_meaning() -> None:
    assert set(MEANING) == set(FindingKind)
