"""From one checkpoint to the next: a delta makes a volume the newer disk, and nothing less passes as one."""

import random
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.delta import delta_stream
from app.store.errors import (
    DeltaImpossible,
    ExportDamaged,
    ExportTruncated,
    ObjectMissing,
    VolumeBusy,
    VolumeDiffers,
    VolumeTooSmall,
    VolumeUnusable,
)
from app.store.volumechange import VolumeChange
from app.store.volumefile import open_in_place
from app.store.volumehash import volume_root
from app.wire.chunks import MIB
from app.wire.frames import Frame, FrameReader, FrameType
from tests.store.world import CHUNK, PROJECT, Tree, World

LEAF_SPAN = 1024 * CHUNK


def changed(content: bytes, size: int, seed: int) -> bytes:
    """The disk at another time: some chunks new, some zero now, and perhaps another size."""
    source = random.Random(seed)
    later = bytearray(content[:size].ljust(size, b"\0"))
    for at in range(0, size, CHUNK):
        kind, end = source.randrange(5), min(size, at + CHUNK)
        if kind < 2:
            later[at:end] = source.randbytes(end - at) if kind else bytes(end - at)
    return bytes(later)


async def frames_of(world: World, before: Tree, after: Tree) -> list[Frame]:
    reader = FrameReader()
    found: list[Frame] = []
    async for piece in delta_stream(world.objects, world.reader, PROJECT, before.root.hash, after.root.hash):
        found += reader.feed(piece)
    reader.finish()
    return found


def change(path: Path, before: Tree, after: Tree) -> VolumeChange:
    return VolumeChange(open_in_place(path, after.root.size), before.root.hash, after.root.hash)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


async def advanced(world: World, path: Path, before: Tree, after: Tree) -> None:
    with change(path, before, after) as volume:
        volume.feed(await frames_of(world, before, after))
        volume.finish()


SIZES = [
    (40 * CHUNK, 40 * CHUNK),
    (40 * CHUNK + 512, 60 * CHUNK),
    (60 * CHUNK, 40 * CHUNK + 512),
    (CHUNK, LEAF_SPAN + 3 * CHUNK),
    (LEAF_SPAN + 3 * CHUNK, 5 * CHUNK + 4096),
    (0, 3 * CHUNK),
    (3 * CHUNK, 0),
    (700, 900),
]


@pytest.mark.parametrize(("size", "later"), SIZES)
async def test_a_volume_becomes_the_newer_disk(world: World, tmp_path: Path, size: int, later: int) -> None:
    first = changed(bytes(size), size, 1)
    second = changed(first, later, 2)
    before, after = world.put_disk(first), world.put_disk(second)
    path = tmp_path / "disk.raw"
    path.write_bytes(first)
    await advanced(world, path, before, after)
    assert path.read_bytes() == second
    assert volume_root(path, later, CHUNK) == after.root.hash


async def test_only_what_differs_travels_and_equal_leaves_are_not_read(world: World) -> None:
    first = bytearray(secrets.token_bytes(CHUNK) + bytes(2 * LEAF_SPAN))
    second = bytearray(first)
    second[LEAF_SPAN + CHUNK : LEAF_SPAN + CHUNK + 4] = b"here"
    before, after = world.put_disk(bytes(first)), world.put_disk(bytes(second))
    frames = await frames_of(world, before, after)
    assert [frame.type for frame in frames] == [
        *(FrameType.ROOT, FrameType.ROOT, FrameType.LEAVES, FrameType.CHUNKS, FrameType.END)
    ]
    assert frames[3].count == 1


async def test_equal_disks_are_three_frames(world: World, tmp_path: Path) -> None:
    content = secrets.token_bytes(3 * CHUNK)
    tree, path = world.put_disk(content), tmp_path / "disk.raw"
    assert len(await frames_of(world, tree, tree)) == 3
    path.write_bytes(content)
    await advanced(world, path, tree, tree)


async def test_what_became_zero_is_a_hole(world: World, tmp_path: Path) -> None:
    content = secrets.token_bytes(64 * CHUNK)
    before, after = world.put_disk(content), world.put_disk(content[:CHUNK] + bytes(63 * CHUNK))
    path = tmp_path / "disk.raw"
    path.write_bytes(content)
    await advanced(world, path, before, after)
    assert path.stat().st_blocks * 512 < 4 * CHUNK


async def test_a_change_that_was_cut_off_anywhere_is_mended_by_the_same_stream(
    world: World, tmp_path: Path
) -> None:
    first = changed(bytes(30 * CHUNK), 30 * CHUNK, 1)
    second = changed(first, 50 * CHUNK, 2)
    before, after = world.put_disk(first), world.put_disk(second)
    frames, path = await frames_of(world, before, after), tmp_path / "disk.raw"
    for length in range(len(frames)):
        path.write_bytes(first)
        with change(path, before, after) as volume:
            volume.feed(frames[:length])
            with pytest.raises(ExportTruncated):
                volume.finish()
        await advanced(world, path, before, after)
        assert path.read_bytes() == second


def refused(path: Path, before: Tree, after: Tree, frames: list[Frame]) -> None:
    """Feed frames that must not be accepted."""
    with change(path, before, after) as volume, pytest.raises((ExportDamaged, ExportTruncated)):
        volume.feed(frames)


async def test_every_missing_frame_and_every_flipped_bit_is_a_named_error(
    world: World, tmp_path: Path
) -> None:
    first = changed(bytes(8 * CHUNK), 8 * CHUNK, 1)
    before, after = world.put_disk(first), world.put_disk(changed(first, 8 * CHUNK, 2))
    frames, path, source = await frames_of(world, before, after), tmp_path / "disk.raw", random.Random(3)
    path.write_bytes(first)
    for number, frame in enumerate(frames[:-1]):
        refused(path, before, after, frames[:number] + frames[number + 1 :])
        for _ in range(25):
            payload = bytearray(frame.payload)
            payload[source.randrange(len(payload))] ^= 1 << source.randrange(8)
            bad = Frame(frame.type, frame.count, payload)
            refused(path, before, after, [*frames[:number], bad, *frames[number + 1 :]])


async def test_storage_that_returns_other_bytes_than_were_written_is_found(
    world: World, tmp_path: Path
) -> None:
    first = bytes(20 * CHUNK)
    second = first[: 9 * CHUNK] + secrets.token_bytes(CHUNK) + first[10 * CHUNK :]
    before, after, path = world.put_disk(first), world.put_disk(second), tmp_path / "disk.raw"
    path.write_bytes(first)
    with change(path, before, after) as volume:
        volume.feed(await frames_of(world, before, after))
        with path.open("r+b") as file:
            file.seek(9 * CHUNK + 17)
            file.write(b"!")
        with pytest.raises(VolumeDiffers, match="chunk 9"):
            volume.finish()


async def test_a_checkpoint_that_the_store_lost_or_cut_otherwise_gives_no_delta(world: World) -> None:
    content = secrets.token_bytes(4 * CHUNK)
    before, other = world.put_disk(content), world.put_disk(content, chunk_size=2 * CHUNK)
    with pytest.raises(DeltaImpossible):
        await frames_of(world, before, other)
    with pytest.raises(ObjectMissing):
        async for _ in delta_stream(world.objects, world.reader, PROJECT, bytes(32), before.root.hash):
            pass


def test_a_volume_that_somebody_has_or_that_is_none_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(CHUNK))
    first = open_in_place(path, CHUNK)
    with pytest.raises(VolumeBusy):
        open_in_place(path, CHUNK)
    first.close()
    with pytest.raises(VolumeUnusable):
        open_in_place(tmp_path, CHUNK)
    with pytest.raises(VolumeUnusable):
        open_in_place(tmp_path / "nothing", CHUNK)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A loop device of 6 MiB full of ones."""
    image = tmp_path / "device.img"
    image.write_bytes(b"\xff" * 6 * MIB)
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    )
    path = Path(made.stdout.strip())
    yield path
    subprocess.run(["losetup", "--detach", str(path)], check=True)


@pytest.mark.root
async def test_a_device_is_advanced_zeros_included_and_no_further(world: World, device: Path) -> None:
    first = changed(bytes(2 * MIB), 2 * MIB, 1)
    second = changed(first, 4 * MIB + 4096, 2)
    before, after = world.put_disk(first), world.put_disk(second)
    with device.open("r+b") as file:
        file.write(first)
    await advanced(world, device, before, after)
    assert bytes_of(device) == second + b"\xff" * (6 * MIB - len(second))
    with pytest.raises(VolumeTooSmall):
        open_in_place(device, 7 * MIB)
