"""Real block devices: loop devices on sparse files, with filesystems that the kernel mounts."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import required_binary

MAKERS = {
    "ext4": ("mkfs.ext4", "e2fsprogs", ("-q", "-F")),
    "xfs": ("mkfs.xfs", "xfsprogs", ("-q", "-f")),
    "btrfs": ("mkfs.btrfs", "btrfs-progs", ("-q", "-f")),
}
CHECKERS = {
    "ext4": ("e2fsck", "e2fsprogs", ("-f", "-n")),
    "xfs": ("xfs_repair", "xfsprogs", ("-n",)),
    "btrfs": ("btrfs", "btrfs-progs", ("check", "--readonly", "--force")),
}


@dataclass(frozen=True)
class LoopDisk:
    """A loop device and the file behind it."""

    device: Path
    backing: Path

    def format(self, kind: str) -> None:
        """Make a filesystem on the whole device."""
        name, package, options = MAKERS[kind]
        _run(required_binary(name, package), *options, str(self.device))

    def check(self, kind: str) -> None:
        """Let the filesystem's own checker read it; fails where it finds a fault."""
        name, package, options = CHECKERS[kind]
        _run(required_binary(name, package), *options, str(self.device))

    @contextmanager
    def mounted(self, at: Path) -> Iterator[Path]:
        """The filesystem, mounted at a folder that is made for it."""
        at.mkdir(exist_ok=True)
        _run("mount", str(self.device), str(at))
        try:
            yield at
        finally:
            _run("umount", str(at))


@contextmanager
def loop_disk(backing: Path, size: int, sector_size: int = 512) -> Iterator[LoopDisk]:
    """A block device of `size` bytes that reads as zeros, gone at the end."""
    with backing.open("wb") as file:
        file.truncate(size)
    losetup = required_binary("losetup", "mount")
    shown = _run(losetup, "--show", "--find", "--sector-size", str(sector_size), str(backing))
    device = Path(shown.strip())
    try:
        yield LoopDisk(device, backing)
    finally:
        _run(losetup, "--detach", str(device))
        backing.unlink()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
