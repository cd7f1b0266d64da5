"""Initrds in every form that kernels unpack, and what is appended to them."""

import bz2
import gzip
import lzma
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from app.launch.conversion import cpio
from app.launch.conversion.applying import below
from app.launch.conversion.cpio import FILE, FOLDER, Member
from app.launch.conversion.drivers import parse_dependencies, to_add
from app.launch.conversion.initrds import archive, holding, modules_of
from app.launch.conversion.inspection import InitrdMaker, Kernel
from app.launch.conversion.unpacking import InitrdUnreadable, members
from app.launch.errors import ConversionFailed

LINK = stat.S_IFLNK | 0o777
RELEASE = "6.1.0"
MODULE = f"usr/lib/modules/{RELEASE}/kernel/drivers/ata/ata-piix.ko.xz"
TREE = (
    Member("lib", LINK, b"usr/lib"),
    Member("scripts/functions", FILE, b"#"),
    Member("conf/initramfs.conf", FILE, b"MODULES=list\n"),
    Member("conf/modules", FILE, b"ext4\n"),
    Member(MODULE, FILE, b"elf" * 999),
)
EARLY = cpio.write([Member("kernel/x86/microcode/GenuineIntel.bin", FILE, b"m" * 700)])
BACKWARDS = cpio.write([Member("a", FILE, b"x" * 8)]).replace(b"%08X" % 8, b"%08X" % -112, 1)
"""A member of a negative size: whoever believes it reads the members before it again, for ever."""


def plain(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    "pack",
    [plain, gzip.compress, lzma.compress, bz2.compress, zstandard.ZstdCompressor().compress,
     lambda data: lzma.compress(data, lzma.FORMAT_ALONE)],
    ids=["plain", "gzip", "xz", "bzip2", "zstd", "lzma"],
)  # fmt: skip
def test_what_was_packed_and_appended_is_found_again(pack: Callable[[bytes], bytes]) -> None:
    early = EARLY + bytes(-len(EARLY) % 512)
    data = early + pack(cpio.write(TREE))
    found = holding("/boot/initrd.img", data, RELEASE)
    assert (found.maker, found.lib, found.unreadable) == (InitrdMaker.INITRAMFS_TOOLS, "usr/lib", "")
    assert found.modules == {"ata_piix"}
    assert found.texts["conf/modules"] == "ext4\n"
    assert modules_of(data, RELEASE) == {"kernel/drivers/ata/ata-piix.ko.xz": b"elf" * 999}

    added = f"usr/lib/modules/{RELEASE}/kernel/drivers/block/virtio_blk.ko"
    whole = data + archive(len(data), [(added, b"new"), ("conf/modules", b"ext4\nvirtio_blk\n")])
    again = holding("/boot/initrd.img", whole, RELEASE)
    assert again.modules == {"ata_piix", "virtio_blk"}
    assert again.texts["conf/modules"] == "ext4\nvirtio_blk\n", "the later one replaces the earlier one"


def test_an_appended_archive_begins_at_512_bytes() -> None:
    for size in (0, 1, 511, 512, 513):
        assert (size + archive(size, [("a", b"b")]).index(b"070701")) % 512 == 0


def test_the_same_files_make_the_same_archive() -> None:
    files = [("b/c", b"1"), ("a", b"2")]
    assert archive(7, files) == archive(7, files[::-1])


def test_folders_stand_before_what_is_in_them() -> None:
    names = [member.name for member in members(cpio.write([Member("a/b/c", FILE, b"x")]))]
    assert names == ["a", "a/b", "a/b/c"]
    assert next(members(cpio.write([Member("a/b", FILE)]))).mode == FOLDER


def test_other_programs_read_the_archive(tmp_path: Path) -> None:
    busybox = shutil.which("cpio")
    assert busybox, "cpio is installed with the packages of the tests"
    data = cpio.write([Member("deep/er/file", FILE, b"content"), Member("link", LINK, b"deep")])
    subprocess.run([busybox, "-id", "--quiet"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "link/er/file").read_bytes() == b"content"


@pytest.mark.parametrize(
    "data",
    [
        b"MZ" + bytes(100),
        b"nonsense",
        gzip.compress(cpio.write(TREE))[:-40],
        lzma.compress(cpio.write(TREE))[:-40],
        zstandard.ZstdCompressor().compress(cpio.write(TREE))[:-40],
        cpio.write(TREE)[:300],
        b"070701" + b"z" * 200,
        b"070701" + b"F" * 104 + b"x" * 64,
        BACKWARDS,
    ],
    ids=["uki", "nonsense", "cut-gzip", "cut-xz", "cut-zstd", "cut", "no-number", "too-long", "backwards"],
)
def test_a_damaged_initrd_is_named_and_raises_nothing_else(data: bytes) -> None:
    assert holding("/boot/initrd.img", data, RELEASE).unreadable
    with pytest.raises(InitrdUnreadable):
        list(members(data))


def test_a_small_initrd_that_unpacks_to_the_moon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.launch.conversion.unpacking.MOST_BYTES", 1 << 20)
    bomb = cpio.write([Member("zeros", FILE, bytes(4 << 20))])
    for packed in (gzip.compress(bomb), lzma.compress(bomb), bz2.compress(bomb), zstandard.compress(bomb)):
        with pytest.raises(InitrdUnreadable):
            list(members(packed))


def test_many_small_archives_that_unpack_to_the_moon_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.launch.conversion.unpacking.MOST_BYTES", 4 << 20)
    bomb = cpio.write([Member("zeros", FILE, bytes(3 << 20))])
    assert list(members(gzip.compress(bomb)))
    with pytest.raises(InitrdUnreadable):
        list(members(gzip.compress(bomb) * 2))


@pytest.mark.skipif(shutil.which("lz4") is None, reason="lz4 is not installed")
def test_a_bomb_of_lz4_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = cpio.write([Member("zeros", FILE, bytes(4 << 20))])
    packed = subprocess.run(["lz4", "-lc", "-"], input=bomb, capture_output=True, check=True).stdout
    assert [member.name for member in members(packed)] == ["zeros"]
    monkeypatch.setattr("app.launch.conversion.unpacking.MOST_BYTES", 1 << 20)
    with pytest.raises(InitrdUnreadable):
        list(members(packed))


@pytest.mark.parametrize("path", ["/etc/cron.d/evil", "../evil", "kernel/../../evil", "//evil"])
def test_a_module_of_a_hostile_guest_is_written_nowhere_but_in_its_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConversionFailed):
        below(tmp_path, path)
    assert below(tmp_path, "kernel/fs/ext4.ko") == tmp_path / "kernel/fs/ext4.ko"


def test_modules_dep_can_name_a_file_outside_of_its_folder() -> None:
    needs = parse_dependencies("kernel/virtio_blk.ko: /etc/cron.d/evil\n")
    paths = to_add(Kernel(RELEASE, needs, frozenset()))
    assert "/etc/cron.d/evil" in paths, "so whoever writes it has to look"


def test_an_initrd_can_name_a_module_outside_of_its_folder() -> None:
    data = cpio.write([Member(f"lib/modules/{RELEASE}//etc/evil.ko", FILE, b"x")])
    assert list(modules_of(data, RELEASE)) == ["/etc/evil.ko"], "so whoever writes it has to look"
