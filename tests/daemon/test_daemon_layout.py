"""Partition tables and superblocks are read from the disk itself and never break the agent."""

import random
import re
from pathlib import Path
from uuid import UUID

import pytest

from app.agent.daemon.disk.layout import read_layout
from app.agent.daemon.disk.partitions import read_table
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.superblocks import recognise
from app.wire.messages import Filesystem
from tests.daemon.disk_images import LINUX, own_uuid, run, sparse, write_gpt, write_mbr

MIB = 1024 * 1024


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_gpt_is_read_for_both_sector_sizes(sector: int, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    write_gpt(path, sector, [(MIB, 8 * MIB, "first"), (20 * MIB, 40 * MIB, "zweite ü")])
    with DiskReader(path) as reader:
        table = read_table(reader.read_at, reader.size)
    assert table.scheme == "gpt"
    assert [(s.number, s.start, s.size, s.name) for s in table.slots] == [
        (1, MIB, 8 * MIB, "first"),
        (2, 20 * MIB, 40 * MIB, "zweite ü"),
    ]
    assert {slot.type for slot in table.slots} == {str(LINUX)}
    assert table.slots[1].uuid == str(own_uuid(2))


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_damaged_first_header_is_replaced_by_the_copy_at_the_end(sector: int, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    write_gpt(path, sector, [(MIB, 8 * MIB, "first")])
    with path.open("r+b") as out:
        out.seek(sector + 40)
        out.write(b"\xff")
    with DiskReader(path) as reader:
        assert [slot.name for slot in read_table(reader.read_at, reader.size).slots] == ["first"]
        with path.open("r+b") as out:
            out.seek(path.stat().st_size - sector + 40)
            out.write(b"\xff")
        assert read_table(reader.read_at, reader.size).scheme == "none"


def test_a_table_made_by_sgdisk_is_read_the_same(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    run("sgdisk", "-n", "1:2048:10239", "-n", "5:20480:40959", "-c", "5:data", "-t", "1:ef00", path)
    with DiskReader(path) as reader:
        slots = read_table(reader.read_at, reader.size).slots
    assert [(slot.number, slot.start // 512, slot.size // 512) for slot in slots] == [
        (1, 2048, 8192),
        (5, 20480, 20480),
    ]
    assert slots[1].name == "data"
    assert slots[0].type == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"


def test_an_mbr_with_a_chain_of_logical_partitions(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    write_mbr(path, 0, [(0x83, 2048, 20480), (0x05, 30720, 61440)], disk_id=0xDEADBEEF)
    write_mbr(path, 30720 * 512, [(0x83, 2048, 8192), (0x05, 20480, 10240)])
    write_mbr(path, (30720 + 20480) * 512, [(0x82, 2048, 4096), (0, 0, 0)])
    with DiskReader(path) as reader:
        table = read_table(reader.read_at, reader.size)
    assert [(s.number, s.start // 512, s.size // 512, s.type, s.uuid) for s in table.slots] == [
        (1, 2048, 20480, "83", "deadbeef-01"),
        (5, 32768, 8192, "83", "deadbeef-05"),
        (6, 53248, 4096, "82", "deadbeef-06"),
    ]


def test_an_extended_chain_that_bites_its_tail_ends(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    write_mbr(path, 0, [(0x05, 2048, 61440)])
    write_mbr(path, 2048 * 512, [(0x83, 64, 128), (0x05, 0, 61440)])
    with DiskReader(path) as reader:
        assert len(read_table(reader.read_at, reader.size).slots) == 1


@pytest.mark.parametrize("seed", range(40))
def test_noise_is_no_layout_and_breaks_nothing(seed: int) -> None:
    noise = bytearray(random.Random(seed).randbytes(256 * 1024))
    noise[510:512] = b"\x55\xaa"
    noise[512:520] = b"EFI PART"
    read = lambda offset, length: bytes(noise[offset : offset + length])  # noqa: E731
    assert read_table(read, len(noise)).scheme in ("none", "mbr")
    recognise(read, 0, len(noise))


MAKERS = {
    "ext2": ("mke2fs", "-q", "-F", "-t", "ext2", "-L", "a label"),
    "ext3": ("mke2fs", "-q", "-F", "-t", "ext3", "-L", "a label"),
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-L", "a label"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-L", "a_label"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-L", "a label"),
    "vfat": ("mkfs.vfat", "-F", "32", "-n", "ALABEL"),
    "swap": ("mkswap", "-q", "-L", "a label"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_filesystems_are_recognised_as_blkid_recognises_them(kind: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 320 * MIB)
    run(*MAKERS[kind], path)
    told = dict(line.split("=", 1) for line in run("blkid", "-p", "-o", "export", path).splitlines())
    with DiskReader(path) as reader:
        layout = read_layout(reader)
    label = re.sub(r"\\(.)", r"\1", told["LABEL"])
    assert layout.filesystem == Filesystem(told["TYPE"], told["UUID"], label)
    assert told["TYPE"] == kind
    assert [(place.start, place.size) for place in layout.places] == [(0, 320 * MIB)]


def test_fat16_is_recognised(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 16 * MIB)
    run("mkfs.vfat", "-F", "16", "-i", "1234ABCD", "-n", "ESP", path)
    with DiskReader(path) as reader:
        assert read_layout(reader).filesystem == Filesystem("vfat", "1234-ABCD", "ESP")


def test_containers_are_told_from_what_may_lie_inside(tmp_path: Path) -> None:
    uuid = UUID("01234567-89ab-cdef-0123-456789abcdef")
    luks = bytearray(MIB)
    luks[:8] = b"LUKS\xba\xbe\x00\x02"
    luks[24:31] = b"secrets"
    luks[168:204] = str(uuid).encode()
    lvm = bytearray(MIB)
    lvm[512:520], lvm[536:544] = b"LABELONE", b"LVM2 001"
    lvm[544:576] = b"abcdefGHIJklmnOPQRstuvWXYZ012345"
    raid = bytearray(MIB)
    raid[4096:4104] = b"\xfc\x4e\x2b\xa9\x01\0\0\0"
    raid[4112:4128], raid[4128:4134] = uuid.bytes, b"host:0"
    told = []
    for raw in (luks, lvm, raid):
        raw[1024 + 56 : 1024 + 58] = b"\x53\xef"
        told.append(recognise(lambda offset, length, raw=raw: bytes(raw[offset : offset + length]), 0, MIB))  # type: ignore[misc]
    assert told == [
        Filesystem("crypto_LUKS", str(uuid), "secrets"),
        Filesystem("LVM2_member", "abcdef-GHIJ-klmn-OPQR-stuv-WXYZ-012345"),
        Filesystem("linux_raid_member", str(uuid), "host:0"),
    ]


def test_filesystems_in_partitions_have_their_place(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    write_gpt(path, 512, [(MIB, 16 * MIB, "a"), (20 * MIB, 32 * MIB, "b"), (54 * MIB, MIB, "c")])
    run("mkfs.vfat", "--offset", "2048", path, str(16 * 1024))
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={20 * MIB}", path, "32M")
    with DiskReader(path) as reader:
        layout = read_layout(reader)
    kinds = [part.filesystem.kind if part.filesystem else "" for part in layout.partitions]
    assert kinds == ["vfat", "ext4", ""]
    assert [(place.kind, place.start, place.size) for place in layout.places] == [
        ("vfat", MIB, 16 * MIB),
        ("ext4", 20 * MIB, 32 * MIB),
    ]


def test_free_space_of_overlapping_filesystems_is_nobodys(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 64 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={20 * MIB}", path, "32M")
    write_mbr(path, 0, [(0x83, 20 * 2048, 32 * 2048), (0x83, 20 * 2048, 16 * 2048)])
    with DiskReader(path) as reader:
        assert read_layout(reader).places == ()
