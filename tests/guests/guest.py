"""Guests: raw disks with a Debian as it was installed on other hardware."""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
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
        _blank(disk, recipe.disk_bytes)
        run("sfdisk", "-q", str(disk), text=f"label: dos\nstart={START // SECTOR}, type=83, bootable\n")
        size = (recipe.disk_bytes - START) // 4096
        run(
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-U",
            recipe.uuid,
            "-E",
            f"offset={START}",
            "-d",
            str(tree),
            str(disk),
            str(size),
        )
    write_bios_grub(
        disk, debian(), "(hd0,msdos1)/boot/grub", ("biosdisk", "part_msdos", "ext2", "xfs", "btrfs")
    )
    return disk


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


def _blank(disk: Path, size: int) -> None:
    with disk.open("wb") as file:
        file.truncate(size)


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


Builder = Callable[[Path], Path]
