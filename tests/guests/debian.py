"""The tree of a Debian that test guests are made of: built once by mmdebstrap, kept outside of the repo.

Its initrds are what servers have that were installed elsewhere: drivers of VMware and of old IDE, none of
virtio. One is by initramfs-tools with MODULES=list, the other one by dracut.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.kit.filelock import FileLock

VERSION: Final = 1
"""Counts up with what is in the tree."""
PACKAGES: Final = (
    *("systemd-sysv", "udev", "initramfs-tools", "dracut-core", "linux-image-cloud-amd64", "kmod", "zstd"),
    *("ifupdown", "iproute2", "busybox-static", "login", "e2fsprogs", "xfsprogs", "btrfs-progs", "lvm2"),
    *("grub-common", "grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"),
)
UNNEEDED: Final = ("doc", "man", "locale", "info", "zoneinfo", "i18n", "bash-completion", "perl", "grub")
INITRD_MODULES: Final = ("ext4", "xfs", "btrfs", "mptspi", "ahci", "ata_piix", "sd_mod", "dm_mod")
_LIST: Final = (
    "sed -i s/^MODULES=.*/MODULES=list/ /etc/initramfs-tools/initramfs.conf; "
    f"printf '%s\\n' {' '.join(INITRD_MODULES)} > /etc/initramfs-tools/modules; update-initramfs -u -k all"
)
_DRACUT: Final = (
    "dracut --no-hostonly --omit-drivers 'virtio virtio_pci virtio_blk virtio_scsi virtio_net' "
    "--omit 'virtiofs' --force /boot/dracut.img $(ls /lib/modules)"
)


@dataclass(frozen=True)
class Debian:
    """The tree, which guests copy and never change."""

    tree: Path

    @property
    def release(self) -> str:
        """Of its kernel."""
        return next((self.tree / "lib/modules").iterdir()).name

    def copy(self, place: Path) -> Path:
        """A copy for a guest to be made of."""
        subprocess.run(["cp", "-a", str(self.tree), str(place)], check=True)
        return place


def cache() -> Path:
    """Where what is slow to make is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(base) / "go2cloud-tests"
    place.mkdir(parents=True, exist_ok=True)
    return place


def debian() -> Debian:
    """The tree, made by the first caller in about a minute and a half, for whom the others wait."""
    ready, fresh = cache() / f"debian-{VERSION}", cache() / "debian.partial"
    lock = FileLock(cache() / "debian.lock")
    while not lock.acquire():
        time.sleep(0.5)
    try:
        if not ready.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            _build(fresh)
            fresh.rename(ready)
    finally:
        lock.release()
    return Debian(ready)


def _build(place: Path) -> None:
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", '--aptopt=Acquire::Languages "none"'),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
        *(f"--include={','.join(PACKAGES)}", f'--customize-hook=chroot "$1" sh -ec "{_LIST}"'),
        f'--customize-hook=chroot "$1" sh -ec "{_DRACUT}"'.replace("$(ls", "\\$(ls"),
        *(
            '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/dev/*',
            "bookworm",
            str(place),
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
