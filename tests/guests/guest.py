"""Guests: raw disks with a Debian as it was installed on other hardware."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.guests.debian import Debian, debian

MIB: Final = 1 << 20
SECTOR: Final = 512
START: Final = MIB
ADDRESS: Final = "192.168.7.20/24"
GATEWAY: Final = "192.168.7.1"
MAC: Final = "00:50:56:aa:bb:01"
PAGE: Final = "4711 of the source"
LEFT_OUT: Final = (
    *(
        "usr/share/perl",
        "usr/share/perl5",
        "usr/lib/python3.11",
        "usr/lib/grub",
        "usr/lib/dracut",
        "boot/dracut.img",
    ),
    *("usr/share/zoneinfo", "usr/lib/x86_64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/perl-base"),
)
GRUB: Final = (
    "normal",
    "linux",
    "configfile",
    "search",
    "search_fs_uuid",
    "test",
    "echo",
    "all_video",
    "gzio",
)
_INTERFACES: Final = f"""\
auto lo
iface lo inet loopback
auto ens192
iface ens192 inet static
    address {ADDRESS}
    gateway {GATEWAY}
"""
_SERVICE: Final = """\
[Unit]
Description=A page
After=network.target
[Service]
ExecStart=/bin/busybox httpd -f -p 8080 -h /srv
[Install]
WantedBy=multi-user.target
"""
_DEFAULT: Final = """\
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
GRUB_DISABLE_LINUX_UUID=true
"""
_MENU: Final = """\
set timeout=0
menuentry 'Debian GNU/Linux' {{
\tsearch --no-floppy --fs-uuid --set=root {boot_uuid}
\tlinux\t{prefix}/vmlinuz-{release} root={root} ro {options}
\tinitrd\t{prefix}/initrd.img-{release}
}}
"""


@dataclass(frozen=True)
class Recipe:
    """How a guest was installed."""

    root: str = "/dev/sda1"
    """As its command line and its fstab name it."""
    fstab: str = "/dev/sda1 / ext4 errors=remount-ro 0 1\n"
    options: str = "console=ttyS0,115200"
    uuid: str = "6b1f3c1e-5b7d-4d3a-9a51-2f6c5f6f0001"
    disk_bytes: int = 512 * MIB
    dracut: bool = False
    files: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """Of SELinux, by path."""


def furnished(place: Path, recipe: Recipe, prefix: str = "/boot") -> Path:
    """The tree of the guest: names, network, a page, and GRUB's menu with what the recipe says."""
    source = debian()
    tree = source.copy(place)
    for name in LEFT_OUT:
        if name != "boot/dracut.img" or not recipe.dracut:
            remove(tree / name)
    initrd = tree / f"boot/initrd.img-{source.release}"
    if recipe.dracut:
        (tree / "boot/dracut.img").rename(initrd)
    menu = _MENU.format(
        boot_uuid=recipe.uuid, prefix=prefix, release=source.release, root=recipe.root, options=recipe.options
    )
    texts = {
        "etc/hostname": "source\n",
        "etc/fstab": recipe.fstab,
        "etc/network/interfaces": _INTERFACES,
        "etc/systemd/system/page.service": _SERVICE,
        "srv/index.html": PAGE,
        "boot/grub/grub.cfg": menu,
        "etc/default/grub": _DEFAULT,
        **recipe.files,
    }
    for name, text in texts.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    for name, label in recipe.labels.items():
        os.setxattr(tree / name, "security.selinux", label.encode() + b"\0", follow_symlinks=False)
    wants = tree / "etc/systemd/system/multi-user.target.wants/page.service"
    wants.symlink_to("/etc/systemd/system/page.service")
    return tree


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def bios_ext4(disk: Path, recipe: Recipe | None = None) -> Path:
    """A disk of VMware's: MBR, GRUB behind it, one ext4 filesystem that is called /dev/sda1 everywhere."""
    recipe = recipe or Recipe()
    with tempfile.TemporaryDirectory(dir=disk.parent) as work:
        tree = furnished(Path(work) / "tree", recipe)
        blank(disk, recipe.disk_bytes)
        partition(disk, f"label: dos\nstart={START // SECTOR}, type=83, bootable\n")
        ext4(disk, START, recipe.disk_bytes - START, recipe.uuid, tree)
    write_bios_grub(disk, debian(), "(hd0,msdos1)/boot/grub", ("biosdisk", "part_msdos", "ext2"))
    return disk


def bios_btrfs(disk: Path) -> Path:
    """The same with btrfs, and the root in its subvolume @."""
    recipe = Recipe(
        fstab="/dev/sda1 / btrfs defaults,subvol=@ 0 0\n", options="rootflags=subvol=@ console=ttyS0,115200"
    )
    blank(disk, recipe.disk_bytes)
    partition(disk, f"label: dos\nstart={START // SECTOR}, type=83, bootable\n")
    with tempfile.TemporaryDirectory(dir=disk.parent) as work:
        image, place = Path(work) / "btrfs", Path(work) / "mounted"
        blank(image, recipe.disk_bytes - START)
        run("mkfs.btrfs", "-q", "-U", recipe.uuid, str(image))
        with mounted(image, place):
            run("btrfs", "subvolume", "create", str(place / "@"))
            run("btrfs", "subvolume", "create", str(place / "@home"))
            tree = furnished(Path(work) / "tree", recipe, prefix="/@/boot")
            run("cp", "-a", f"{tree}/.", str(place / "@"))
        into(disk, START, image)
    write_bios_grub(disk, debian(), "(hd0,msdos1)/@/boot/grub", ("biosdisk", "part_msdos", "btrfs"))
    return disk


def uefi_xfs(disk: Path, esp_line: str = "/dev/sda1 /boot/efi vfat umask=0077 0 1\n") -> Path:
    """A disk whose loader only the firmware's variables of the old machine know; the root is XFS."""
    recipe = Recipe(
        root="/dev/sda2",
        fstab="/dev/sda2 / xfs defaults 0 1\n" + esp_line,
        disk_bytes=640 * MIB,
        options="quiet",
    )
    esp, root = 34 * MIB, recipe.disk_bytes - 36 * MIB
    blank(disk, recipe.disk_bytes)
    partition(
        disk,
        f"label: gpt\nstart={START // SECTOR}, size={esp // SECTOR}, type=U\n"
        f"start={(START + esp) // SECTOR}, size={root // SECTOR}, type=L\n",
    )
    with tempfile.TemporaryDirectory(dir=disk.parent) as work:
        image, place = Path(work) / "xfs", Path(work) / "mounted"
        blank(image, root)
        run("mkfs.xfs", "-q", "-m", f"uuid={recipe.uuid}", str(image))
        tree = furnished(Path(work) / "tree", recipe)
        with mounted(image, place):
            (tree / "boot/efi").mkdir()
            run("cp", "-a", f"{tree}/.", str(place))
        into(disk, START + esp, image)
        loader = Path(work) / "grubx64.efi"
        modules = ("part_gpt", "fat", "xfs", "efi_gop")
        loader.write_bytes(grub_image(debian(), "x86_64-efi", "/EFI/debian", modules))
        _write_esp(disk, START, esp, {"grubx64.efi": loader, "grub.cfg": tree / "boot/grub/grub.cfg"})
    return disk


def _write_esp(disk: Path, start: int, size: int, files: dict[str, Path]) -> None:
    """An EFI system partition with /EFI/debian and no /EFI/BOOT."""
    image = f"{disk}@@{start}"
    run("mformat", "-i", image, "-T", str(size // SECTOR), "-h", "16", "-s", "63", "-F", "::")
    run("mmd", "-i", image, "::/EFI", "::/EFI/debian")
    for name, path in files.items():
        run("mcopy", "-i", image, str(path), f"::/EFI/debian/{name}")


LVM_SCRIPT: Final = Path(__file__).with_name("lvm_disks.py")


def two_disks_lvm(first: Path, second: Path) -> tuple[Path, Path]:
    """/boot on the first disk, and the root on a logical volume that lies on both.

    There is no device mapper in containers and the like: the volumes are made in libguestfs' appliance.
    """
    recipe = Recipe(
        root="/dev/mapper/vg0-root",
        fstab="/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n",
        files={"etc/lvm/devices/system.devices": "VERSION=1.1.1\nIDTYPE=devname IDNAME=/dev/sda2\n"},
    )
    boot = 96 * MIB
    with tempfile.TemporaryDirectory(dir=first.parent) as work:
        tree = furnished(Path(work) / "tree", recipe, prefix="")
        for disk, size in ((first, 320 * MIB), (second, 320 * MIB)):
            blank(disk, size)
        partition(
            first,
            f"label: dos\nstart={START // SECTOR}, size={boot // SECTOR}, type=83, bootable\n"
            f"start={(START + boot) // SECTOR}, type=8e\n",
        )
        (tree / "boot").rename(Path(work) / "boot")
        (tree / "boot").mkdir()
        (tree / "srv/ledger.txt").symlink_to("/boot/ledger.txt")
        ext4(first, START, boot, recipe.uuid, Path(work) / "boot")
        archive = Path(work) / "root.tar"
        run("tar", "-C", str(tree), "-cf", str(archive), ".")
        run("/usr/bin/python3", str(LVM_SCRIPT), str(first), str(second), str(archive))
    write_bios_grub(first, debian(), "(hd0,msdos1)/grub", ("biosdisk", "part_msdos", "ext2"))
    return first, second


def ext4(disk: Path, start: int, size: int, uuid: str, tree: Path) -> None:
    """A filesystem with a tree, at a place of a disk; nothing is mounted."""
    options = ("-q", "-F", "-t", "ext4", "-b", "4096", "-U", uuid, "-E", f"offset={start}")
    run("mke2fs", *options, "-d", str(tree), str(disk), str(size // 4096))


def partition(disk: Path, script: str) -> None:
    run("sfdisk", "-q", str(disk), text=script)


def into(disk: Path, start: int, image: Path) -> None:
    """Put a filesystem's image to its place on a disk."""
    run(
        "dd",
        f"if={image}",
        f"of={disk}",
        "bs=1M",
        f"seek={start // MIB}",
        "conv=notrunc,sparse",
        "status=none",
    )


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[None]:
    """The image's filesystem, mounted: it is one that the tests made."""
    place.mkdir()
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield
    finally:
        run("umount", str(place))


def write_bios_grub(disk: Path, source: Debian, prefix: str, modules: tuple[str, ...]) -> None:
    """GRUB into the first sector and the gap behind it, as grub-bios-setup does."""
    core = bytearray(grub_image(source, "i386-pc", prefix, modules))
    boot = bytearray((source.tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
    struct.pack_into("<Q", boot, 0x5C, 1)
    boot[0x66:0x68] = b"\x90\x90"
    rest = -(-len(core) // SECTOR) - 1
    struct.pack_into("<QHH", core, SECTOR - 12, 2, rest, 0x820)
    with disk.open("r+b") as file:
        file.write(boot)
        file.seek(SECTOR)
        file.write(core)


def grub_image(source: Debian, form: str, prefix: str, modules: tuple[str, ...]) -> bytes:
    """A core of GRUB."""
    with tempfile.NamedTemporaryFile(dir=source.tree / "tmp") as core:
        place = f"/tmp/{Path(core.name).name}"
        run(
            "chroot", str(source.tree), "grub-mkimage", "-O", form, "-p", prefix, "-o", place, *GRUB, *modules
        )
        return Path(core.name).read_bytes()


def blank(disk: Path, size: int) -> None:
    with disk.open("wb") as file:
        file.truncate(size)


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout
