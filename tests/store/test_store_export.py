"""Out again: the export stream makes a volume of the same bytes, and nothing less passes as one."""

import errno
import os
import random
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.errors import (
    ExportDamaged,
    ExportTruncated,
    ObjectMissing,
    VolumeBusy,
    VolumeDiffers,
    VolumeError,
    VolumeExists,
    VolumeTooSmall,
    VolumeUnusable,
)
from app.store.export import export_stream
from app.store.volume import VolumeWriter, volume_root
from app.wire.chunks import MIB
from app.wire.frames import Frame, FrameReader, FrameType
from tests.store.world import CHUNK, PROJECT, Made, World

LEAF_SPAN = 1024 * CHUNK


def disk_content(size: int, seed: int = 1) -> bytes:
    """Some data, some of it repeated, much of it zero; the last chunk is short."""
    source = random.Random(seed)
    content = bytearray(size)
    repeated = source.randbytes(CHUNK)
    for at in range(0, size, CHUNK):
        kind = source.randrange(4)
        piece = repeated if kind == 0 else source.randbytes(CHUNK) if kind == 1 else b""
        content[at : at + len(piece)] = piece[: max(0, size - at)]
    return bytes(content)


async def frames_of(world: World, made: Made) -> list[Frame]:
    reader = FrameReader()
    found: list[Frame] = []
    async for piece in export_stream(world.objects, world.reader, PROJECT, made.root.hash):
        found += reader.feed(piece)
    reader.finish()
    return found


def names_in(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir()]


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def refused(made: Made, output: Path, frames: list[Frame]) -> None:
    """Feed frames that must not be accepted."""
    with (
        VolumeWriter(output, made.root.size, made.root.hash) as writer,
        pytest.raises((ExportDamaged, ExportTruncated)),
    ):
        writer.feed(frames)


async def written(world: World, made: Made, output: Path, *, force: bool = False) -> bytes:
    with VolumeWriter(output, made.root.size, made.root.hash, force=force) as writer:
        writer.feed(await frames_of(world, made))
        assert writer.position == made.root.size
        return writer.finish()


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 512, 40 * CHUNK + 4096, 0])
async def test_a_disk_comes_out_as_it_went_in(world: World, tmp_path: Path, size: int) -> None:
    content = disk_content(size)
    made = world.checkpoint(content)
    assert await written(world, made, tmp_path / "disk.raw") == made.root.hash
    assert (tmp_path / "disk.raw").read_bytes() == content
    assert not (tmp_path / "disk.raw.partial").exists()


async def test_empty_leaves_between_full_ones_become_holes(world: World, tmp_path: Path) -> None:
    size = 3 * LEAF_SPAN + 5 * CHUNK
    content = bytearray(size)
    content[:CHUNK] = secrets.token_bytes(CHUNK)
    content[2 * LEAF_SPAN + 7 * CHUNK : 2 * LEAF_SPAN + 8 * CHUNK] = secrets.token_bytes(CHUNK)
    made = world.checkpoint(bytes(content))
    await written(world, made, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == content
    assert (tmp_path / "disk.raw").stat().st_blocks * 512 < 4 * CHUNK


async def test_an_empty_disk_is_two_frames(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(bytes(LEAF_SPAN + 1))
    assert [frame.type for frame in await frames_of(world, made)] == [FrameType.ROOT, FrameType.END]
    await written(world, made, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").stat().st_blocks == 0


async def test_each_chunk_of_a_leaf_travels_once(world: World) -> None:
    made = world.checkpoint(disk_content(60 * CHUNK))
    chunks = [frame for frame in await frames_of(world, made) if frame.type is FrameType.CHUNKS]
    assert sum(frame.count for frame in chunks) == len(made.ids)


async def test_every_cut_of_the_stream_is_a_named_error_and_leaves_nothing(
    world: World, tmp_path: Path
) -> None:
    made = world.checkpoint(disk_content(20 * CHUNK))
    frames = await frames_of(world, made)
    for length in range(len(frames)):
        with VolumeWriter(tmp_path / "disk.raw", made.root.size, made.root.hash) as writer:
            writer.feed(frames[:length])
            with pytest.raises(ExportTruncated):
                writer.finish()
        assert names_in(tmp_path) == ["store"]


async def test_every_missing_frame_is_a_named_error(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(disk_content(80 * CHUNK))
    frames = await frames_of(world, made)
    assert len(frames) > 3
    for missing in range(len(frames) - 1):
        refused(made, tmp_path / "disk.raw", frames[:missing] + frames[missing + 1 :])


async def test_every_flipped_bit_of_the_stream_is_a_named_error(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(disk_content(4 * CHUNK))
    frames = await frames_of(world, made)
    source = random.Random(2)
    for number, frame in enumerate(frames[:-1]):
        for _ in range(25):
            payload = bytearray(frame.payload)
            payload[source.randrange(len(payload))] ^= 1 << source.randrange(8)
            bad = Frame(frame.type, frame.count, payload)
            refused(made, tmp_path / "disk.raw", [*frames[:number], bad, *frames[number + 1 :]])


async def test_another_disk_of_the_same_size_is_refused_at_the_first_frame(
    world: World, tmp_path: Path
) -> None:
    wanted, other = world.checkpoint(disk_content(CHUNK, 1)), world.checkpoint(secrets.token_bytes(CHUNK))
    frames = await frames_of(world, other)
    with (
        VolumeWriter(tmp_path / "disk.raw", wanted.root.size, wanted.root.hash) as writer,
        pytest.raises(ExportDamaged, match=other.root.hash.hex()),
    ):
        writer.feed(frames)


async def test_a_lost_chunk_ends_the_stream_without_its_end(world: World) -> None:
    made = world.checkpoint(secrets.token_bytes(3 * CHUNK))
    world.pack_file(made.packs[0]).unlink()
    with pytest.raises(ObjectMissing):
        await frames_of(world, made)


async def test_storage_that_returns_other_bytes_is_found_before_the_output_has_its_name(
    world: World, tmp_path: Path
) -> None:
    made = world.checkpoint(disk_content(8 * CHUNK))
    with VolumeWriter(tmp_path / "disk.raw", made.root.size, made.root.hash) as writer:
        writer.feed(await frames_of(world, made))
        with (tmp_path / "disk.raw.partial").open("r+b") as file:
            file.seek(3 * CHUNK + 17)
            file.write(b"!")
        with pytest.raises(VolumeDiffers):
            writer.finish()
    assert not (tmp_path / "disk.raw").exists()


async def test_an_existing_output_is_kept_unless_forced(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(disk_content(8 * CHUNK))
    output = tmp_path / "disk.raw"
    output.write_bytes(b"\xff" * 20 * CHUNK)
    with pytest.raises(VolumeExists, match=r"disk\.raw"):
        VolumeWriter(output, made.root.size, made.root.hash)
    assert output.read_bytes() == b"\xff" * 20 * CHUNK
    await written(world, made, output, force=True)
    assert output.read_bytes() == disk_content(8 * CHUNK)


async def test_a_forced_export_that_fails_leaves_the_old_output(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(disk_content(8 * CHUNK))
    output = tmp_path / "disk.raw"
    output.write_bytes(b"old")
    with VolumeWriter(output, made.root.size, made.root.hash, force=True) as writer:
        writer.feed((await frames_of(world, made))[:2])
    assert output.read_bytes() == b"old"


async def test_two_exports_to_one_output_do_not_mix(world: World, tmp_path: Path) -> None:
    made = world.checkpoint(disk_content(CHUNK))
    with VolumeWriter(tmp_path / "disk.raw", made.root.size, made.root.hash), pytest.raises(VolumeBusy):
        VolumeWriter(tmp_path / "disk.raw", made.root.size, made.root.hash)


def test_what_is_neither_file_nor_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeUnusable, match=str(tmp_path)):
        VolumeWriter(tmp_path, CHUNK, bytes(32), force=True)
    with pytest.raises(VolumeUnusable):
        VolumeWriter(tmp_path / "nowhere/disk.raw", CHUNK, bytes(32))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A loop device of 4 MiB full of ones."""
    image = tmp_path / "device.img"
    image.write_bytes(b"\xff" * 4 * MIB)
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    )
    path = Path(made.stdout.strip())
    yield path
    subprocess.run(["losetup", "--detach", str(path)], check=True)


@pytest.mark.root
async def test_a_device_is_overwritten_zeros_included_and_no_further(world: World, device: Path) -> None:
    content = disk_content(3 * MIB + 4096)
    made = world.checkpoint(content)
    with pytest.raises(VolumeExists):
        VolumeWriter(device, made.root.size, made.root.hash)
    assert await written(world, made, device, force=True) == made.root.hash
    assert bytes_of(device) == content + b"\xff" * (4 * MIB - len(content))
    assert volume_root(device, len(content), CHUNK) == made.root.hash


@pytest.mark.root
async def test_a_device_that_cannot_zero_by_itself_is_written_zeros(
    world: World, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.volumefile._BLKZEROOUT", 0x12FF)
    content = bytes(2 * MIB) + secrets.token_bytes(MIB)
    await written(world, world.checkpoint(content), device, force=True)
    assert bytes_of(device)[: 3 * MIB] == content


@pytest.mark.root
def test_a_device_smaller_than_the_disk_is_refused_untouched(device: Path) -> None:
    with pytest.raises(VolumeTooSmall, match=str(device)):
        VolumeWriter(device, 4 * MIB + 512, bytes(32), force=True)
    assert device.read_bytes() == b"\xff" * 4 * MIB


@pytest.mark.root
def test_a_mounted_device_is_refused_untouched(device: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
    (tmp_path / "mnt").mkdir()
    subprocess.run(["mount", str(device), str(tmp_path / "mnt")], check=True)
    try:
        with pytest.raises(VolumeBusy, match=str(device)):
            VolumeWriter(device, MIB, bytes(32), force=True)
    finally:
        subprocess.run(["umount", str(tmp_path / "mnt")], check=True)


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A mounted filesystem of 1 MiB."""
    mount = tmp_path / "mnt"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.root
async def test_an_output_that_runs_full_is_a_named_error(world: World, small_filesystem: Path) -> None:
    made = world.checkpoint(secrets.token_bytes(3 * MIB))
    with pytest.raises(VolumeError, match=os.strerror(errno.ENOSPC)):
        await written(world, made, small_filesystem / "disk.raw")
    assert names_in(small_filesystem) == []
