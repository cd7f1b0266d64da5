"""Free space is what the filesystems' own tools call free, and nothing where there is any doubt."""

import random
import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space import ext, xfs
from app.agent.daemon.capture.free_space.bitmap import free_count, free_runs
from app.agent.daemon.capture.free_space.reasons import NotTrusted
from app.agent.daemon.disk.reader import DiskReader
from tests.daemon.disk_images import run, sparse

KIB, MIB, GIB = 1024, 1024 * 1024, 1024 * 1024 * 1024

EXT = {
    "ext2": (300 * MIB, ("-t", "ext2")),
    "ext3": (300 * MIB, ("-t", "ext3")),
    "ext4": (1 * GIB, ("-t", "ext4")),
    "1k": (300 * MIB, ("-t", "ext4", "-b", "1024")),
    "2k": (600 * MIB, ("-t", "ext4", "-b", "2048")),
    "bigalloc": (2 * GIB, ("-t", "ext4", "-O", "bigalloc")),
    "bigalloc 1k": (2 * GIB, ("-t", "ext4", "-b", "1024", "-O", "bigalloc,^resize_inode")),
    "meta_bg": (1 * GIB, ("-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode")),
    "32 bit": (300 * MIB, ("-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg")),
    "sparse_super2": (1 * GIB, ("-t", "ext4", "-O", "sparse_super2")),
    "no sparse_super": (300 * MIB, ("-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode")),
    "no flex_bg": (1 * GIB, ("-t", "ext4", "-O", "^flex_bg", "-b", "1024")),
    "odd size": (300 * MIB + 12345, ("-t", "ext4", "-b", "1024")),
    "large": (1024 * GIB, ("-t", "ext4", "-T", "largefile4", "-E", "lazy_itable_init=1")),
}


def make_ext(path: Path, kind: str) -> Path:
    size, arguments = EXT[kind]
    sparse(path, size)
    run("mke2fs", "-q", "-F", *arguments, "-d", "/usr/share/doc", path)
    return path


def dumpe2fs_free(path: Path) -> Extents:
    """What dumpe2fs calls free, in bytes; with clusters it names the first block of the last one."""
    told = run("dumpe2fs", path)
    found = re.search(r"^Block size:\s+(\d+)", told, re.MULTILINE)
    assert found
    block = int(found[1])
    clusters = re.search(r"^Cluster size:\s+(\d+)", told, re.MULTILINE)
    unit = int(clusters[1]) if clusters else block
    spans = re.findall(r"^  Free blocks: (.+)$", told, re.MULTILINE)
    pairs = [pair.partition("-") for text in spans for pair in text.split(", ")]
    return Extents.of((int(a) * block, int(b or a) * block + unit) for a, _, b in pairs if a)


@pytest.mark.parametrize("kind", EXT)
def test_ext_free_space_is_what_dumpe2fs_says(kind: str, tmp_path: Path) -> None:
    path = make_ext(tmp_path / "disk", kind)
    with DiskReader(path) as reader:
        started = time.process_time()
        free = ext.free_extents(reader.read_at, reader.size)
        seconds = time.process_time() - started
    told = dumpe2fs_free(path)
    assert free.without(told).total == 0
    assert free.total > 0.9 * told.total
    assert seconds < 5


def spoil(path: Path, offset: int, form: str, value: int) -> None:
    with path.open("r+b") as out:
        out.seek(1024 + offset)
        out.write(struct.pack(form, value))


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (0x38, "<H", 0, "no ext superblock"),
        (0x3A, "<H", 0, "not cleanly unmounted"),
        (0x3A, "<H", 3, "not cleanly unmounted"),
        (0xE8, "<I", 12, "not cleanly unmounted"),
        (0x60, "<I", 0x2C6, "needs recovery"),
        (0x60, "<I", 0x80000000, "unknown features"),
        (0x64, "<I", 0x80000000, "unknown features"),
        (0x20, "<I", 7, "contradicts itself"),
        (4, "<I", 0xFFFFFFFF, "contradicts itself"),
    ],
)
def test_ext_in_doubt_has_no_free_space(
    offset: int, form: str, value: int, words: str, tmp_path: Path
) -> None:
    path = make_ext(tmp_path / "disk", "1k")
    spoil(path, offset, form, value)
    with DiskReader(path) as reader, pytest.raises(NotTrusted, match=words):
        ext.free_extents(reader.read_at, reader.size)


def test_an_ext_bitmap_that_contradicts_its_group_is_not_believed(tmp_path: Path) -> None:
    path = make_ext(tmp_path / "disk", "1k")
    found = re.search(r"Block bitmap at (\d+)", run("dumpe2fs", path))
    assert found
    with path.open("r+b") as out:
        out.seek(int(found[1]) * 1024 + 100)
        out.write(b"\0\0\0\0")
    with DiskReader(path) as reader, pytest.raises(NotTrusted, match="disagree"):
        ext.free_extents(reader.read_at, reader.size)


@pytest.mark.parametrize("kind", ["ext", "xfs"])
def test_random_damage_is_doubt_and_nothing_else(kind: str, tmp_path: Path) -> None:
    path = make_xfs(tmp_path / "disk", ()) if kind == "xfs" else make_ext(tmp_path / "disk", "1k")
    read_free = xfs.free_extents if kind == "xfs" else ext.free_extents
    with path.open("rb") as source:
        head = source.read(64 * KIB)
    chance = random.Random(7)
    with DiskReader(path) as reader:
        for _ in range(300 if kind == "ext" else 40):
            damaged = bytearray(head)
            for _ in range(chance.randrange(1, 8)):
                damaged[chance.randrange(len(head) if chance.random() < 0.5 else 2048)] = chance.randrange(
                    256
                )

            def read(offset: int, length: int, damaged: bytearray = damaged) -> bytes:
                assert length < 64 * MIB
                inside = bytes(damaged[offset : offset + length])
                rest = length - len(inside)
                return inside + (reader.read_at(offset + len(inside), rest) if rest else b"")

            try:
                read_free(read, reader.size)
            except NotTrusted:
                continue


XFS = {
    "v5": (),
    "v4": ("-m", "crc=0"),
    "1k blocks, 9 groups": ("-b", "size=1024", "-d", "agcount=9"),
    "4k sectors": ("-s", "size=4096"),
    "no reflink": ("-m", "reflink=0"),
}


def make_xfs(path: Path, arguments: tuple[str, ...]) -> Path:
    """An XFS of 1 GiB with files and holes between them, made without mounting it."""
    sparse(path, GIB)
    proto = path.with_name("proto")
    lines = [f"f{n} ---644 0 0 /usr/bin/env" for n in range(500)]
    proto.write_text("\n".join(["/dev/null", "0 0", "d--755 0 0", *lines, "$", ""]))
    run("mkfs.xfs", "-q", "-f", *arguments, "-p", str(proto), path)
    return path


def xfs_db_free(path: Path) -> Extents:
    """What xfs_db calls free, in bytes; it counts the reserve of each group (AGFL) too."""
    superblock = run("xfs_db", "-r", "-c", "sb 0", "-c", "p blocksize agblocks", path)
    block, group = (int(line.split("=")[1]) for line in superblock.splitlines())
    rows = [line.split() for line in run("xfs_db", "-r", "-c", "freesp -d", path).splitlines()]
    spans = [tuple(map(int, row)) for row in rows if len(row) == 3 and all(cell.isdigit() for cell in row)]
    return Extents.of(
        ((ag * group + at) * block, (ag * group + at + count) * block) for ag, at, count in spans
    )


@pytest.mark.parametrize("kind", XFS)
def test_xfs_free_space_is_what_xfs_db_says(kind: str, tmp_path: Path) -> None:
    path = make_xfs(tmp_path / "disk", XFS[kind])
    with DiskReader(path) as reader:
        free = xfs.free_extents(reader.read_at, reader.size)
    told = xfs_db_free(path)
    assert free.without(told).total == 0
    assert 0 <= told.total - free.total < MIB


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (0, ">I", 0, "no XFS superblock"),
        (4, ">I", 3, "contradicts itself"),
        (126, ">B", 1, "never finished"),
        (216, ">I", 0x10, "needs repair"),
        (220, ">I", 1, "unknown features"),
        (48, ">Q", 0, "another device"),
        (100, ">H", 6, "version 6 is unknown"),
    ],
)
def test_xfs_in_doubt_has_no_free_space(
    offset: int, form: str, value: int, words: str, tmp_path: Path
) -> None:
    path = make_xfs(tmp_path / "disk", ())
    with path.open("r+b") as out:
        out.seek(offset)
        out.write(struct.pack(form, value))
    with DiskReader(path) as reader, pytest.raises(NotTrusted, match=words):
        xfs.free_extents(reader.read_at, reader.size)


@given(st.binary(min_size=1, max_size=64), st.integers(0, 7))
def test_runs_of_a_bitmap_are_free_and_hold_every_whole_free_byte(bitmap: bytes, cut: int) -> None:
    blocks = len(bitmap) * 8 - cut
    bits = [bitmap[n // 8] >> (n % 8) & 1 for n in range(blocks)]
    runs = list(free_runs(bitmap, blocks))
    inside = {n for start, end in runs for n in range(start, end)}
    assert not any(bits[n] for n in inside)
    whole = [b for b in range(blocks // 8) if bitmap[b] == 0]
    assert all(b * 8 + n in inside for b in whole for n in range(8))
    for start, end in runs:
        assert start == 0 or bits[start - 1]
        assert end == blocks or bits[end]
    assert free_count(bitmap, blocks) == bits.count(0)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=8)


def as_set(extents: Extents) -> set[int]:
    return {n for start, end in extents for n in range(start, end)}


@given(SPANS, SPANS, st.integers(0, 70), st.integers(0, 20))
def test_extents_are_sets_of_bytes(
    one: list[tuple[int, int]], two: list[tuple[int, int]], start: int, length: int
) -> None:
    a = Extents.of((at, at + size) for at, size in one)
    b = Extents.of((at, at + size) for at, size in two)
    window = set(range(start, start + length))
    assert as_set(a.without(b)) == as_set(a) - as_set(b)
    assert as_set(Extents.of(a.within(start, start + length))) == as_set(a) & window
    assert as_set(Extents.of(a.gaps(start, start + length))) == window - as_set(a)
    assert a.total == len(as_set(a))
    assert as_set(a.aligned(4)) == {
        n for n in as_set(a) if set(range(n // 4 * 4, n // 4 * 4 + 4)) <= as_set(a)
    }
    assert a.covers(start, start + length) == (length > 0 and window <= as_set(a))
