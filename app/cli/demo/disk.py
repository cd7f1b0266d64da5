"""The demo's source disk: GPT, an EFI system partition, and ext4 with a few hundred megabytes of real files.

Everything happens inside an ordinary file, without root: mke2fs fills a filesystem from a folder, debugfs
changes it afterwards, e2fsck judges it.
"""

import os
import secrets
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.cli.demo.fat import fat16
from app.cli.demo.partitions import EFI_SYSTEM, LINUX_DATA, Slot, write_gpt
from app.kit.errors import Unavailable

MIB: Final = 1024 * 1024
DISK_BYTES: Final = 1024 * MIB
EFI_START, EFI_BYTES = MIB, 32 * MIB
ROOT_START: Final = EFI_START + EFI_BYTES
ROOT_BYTES: Final = DISK_BYTES - ROOT_START - MIB
TREE_BYTES: Final = 320 * MIB
FOLDERS: Final = ("/usr/lib", "/usr/share", "/usr/bin")


@dataclass(frozen=True)
class Tools:
    """The programs of e2fsprogs, wherever they are installed."""

    mke2fs: str
    debugfs: str
    e2fsck: str

    @classmethod
    def find(cls) -> "Tools":
        """Look on PATH and where Debian keeps system programs. Raises Unavailable that names the package."""
        path = os.pathsep.join((os.defpath, "/usr/sbin", "/sbin", "/usr/local/sbin"))
        found = [shutil.which(name) or shutil.which(name, path=path) for name in cls.__dataclass_fields__]
        if None in found:
            missing = [name for name, place in zip(cls.__dataclass_fields__, found, strict=True) if not place]
            raise Unavailable(
                f"the demo needs {', '.join(missing)}",
                code="TOOL_MISSING",
                remedy="apt-get install e2fsprogs",
            )
        return cls(*(place for place in found if place))


@dataclass(frozen=True)
class DemoDisk:
    """The image of the source disk."""

    path: Path
    tools: Tools

    @classmethod
    def make(cls, folder: Path, tools: Tools) -> "DemoDisk":
        """Make the disk in `folder` and fill it."""
        disk = cls(folder / "source.img", tools)
        with disk.path.open("wb") as file:
            file.truncate(DISK_BYTES)
        slots = (
            Slot(EFI_SYSTEM, "EFI system", EFI_START, EFI_BYTES),
            Slot(LINUX_DATA, "root", ROOT_START, ROOT_BYTES),
        )
        write_gpt(disk.path, DISK_BYTES, slots)
        with disk.path.open("r+b") as file:
            file.seek(EFI_START)
            file.write(
                fat16(EFI_BYTES, {"BOOTX64.EFI": secrets.token_bytes(150_000), "GRUB.CFG": b"# demo\n"})
            )
        disk._make_root(folder / "tree")
        return disk

    def _make_root(self, tree: Path) -> None:
        copy_tree(tree, TREE_BYTES)
        blocks = str(ROOT_BYTES // 4096)
        options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-L", "demo-root", "-E", f"offset={ROOT_START}"]
        self._run(self.tools.mke2fs, *options, "-d", str(tree), str(self.path), blocks)
        shutil.rmtree(tree)

    def change(self, folder: Path) -> int:
        """What a day of work leaves: new files, a removed one, an overwritten one. Returns the new bytes."""
        note, blob = folder / "note.txt", folder / "blob.bin"
        note.write_text("changed after the first checkpoint\n" * 100)
        blob.write_bytes(secrets.token_bytes(6 * MIB))
        script = folder / "changes"
        script.write_text(f"write {note} note.txt\nwrite {blob} blob.bin\nmkdir later\nrm sample-0\n")
        self._run(self.tools.debugfs, "-w", "-f", str(script), f"{self.path}?offset={ROOT_START}")
        return note.stat().st_size + blob.stat().st_size

    def check(self, image: Path) -> str:
        """Let e2fsck read the filesystem in an image of the disk; returns its verdict.

        Raises Unavailable where it finds an error.
        """
        return self._run(self.tools.e2fsck, "-f", "-n", f"{image}?offset={ROOT_START}").splitlines()[-1]

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(
                f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip() or done.stdout}",
                code="TOOL_FAILED",
            )
        return done.stdout


def copy_tree(target: Path, most: int) -> None:
    """Collect real files of this machine, at most about `most` bytes, with the duplicates that it has."""
    target.mkdir()
    size = 0
    for number, source in enumerate(_real_files()):
        place = target / source.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        size += source.stat().st_size
        if number < 4:
            shutil.copyfile(source, target / f"sample-{number}")
        if size >= most:
            return


def _real_files() -> Iterator[Path]:
    for folder in (sysconfig.get_path("stdlib"), *FOLDERS):
        for path, _, names in os.walk(folder):
            for name in sorted(names):
                file = Path(path, name)
                if file.is_file() and not file.is_symlink() and os.access(file, os.R_OK):
                    yield file
