"""A tiny Linux disk that boots by BIOS and by UEFI: GRUB, Debian's cloud kernel, busybox and a web page.

GPT with a BIOS boot partition (GRUB's core image), an EFI system partition (GRUB as BOOTX64.EFI) and ext4.
The initramfs holds the few modules that the virtual machine needs; it mounts the ext4 partition and hands
over to its /init, which serves /www on port 8080 and shows a login prompt on screen and serial line.

Nothing is installed on this machine and no root is needed: Debian's packages are downloaded once, unpacked
into a cache (~/.cache/go2cloud-tiny-disk), and used from there.
"""

import shutil
import struct
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.cli.demo.partitions import EFI_SYSTEM, LINUX_DATA, Slot, write_gpt
from app.kit.errors import Unavailable
from app.kit.filelock import FileLock

MIB: Final = 1024 * 1024
SECTOR: Final = 512
BIOS_BOOT: Final = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
DISK_BYTES: Final = 96 * MIB
CORE_START, CORE_BYTES = MIB, MIB
EFI_START, EFI_BYTES = 2 * MIB, 16 * MIB
ROOT_START: Final = EFI_START + EFI_BYTES
ROOT_BYTES: Final = DISK_BYTES - ROOT_START - MIB
KERNEL_PACKAGE: Final = "linux-image-cloud-amd64"
PAGE: Final = "rows-of-the-checkpoint: 4711\n"

MODULES: Final = ("virtio_pci", "virtio_blk", "virtio_net", "ahci", "sd_mod", "ext4", "af_packet")
GRUB_MODULES: Final = ("part_gpt", "ext2", "linux", "normal", "configfile", "echo", "search", "search_label")
EFI_MODULES: Final = ("efi_gop", "efi_uga", "gfxterm")

_EARLY: Final = "search --no-floppy --label tiny-root --set=root\nconfigfile ($root)/boot/grub.cfg\n"
_MENU: Final = """\
echo 'GRUB: loading Linux ...'
linux /boot/vmlinuz console=tty0 console=ttyS0 panic=0 {options}
initrd /boot/initrd
boot
"""
_INITRAMFS_INIT: Final = """\
#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in {modules}; do modprobe $module; done
for try in 1 2 3 4 5 6 7 8 9 10; do
  root=$(findfs LABEL=tiny-root) && break
  sleep 1
done
mkdir -p /root
grep -q tinyroot=none /proc/cmdline && root=none
if ! mount -t ext4 "$root" /root; then
  echo 'ALERT!  LABEL=tiny-root does not exist.  Dropping to a shell!'
  printf '(initramfs) '
  exec sh
fi
mount -o move /dev /root/dev
exec switch_root /root /init
"""
_INIT: Final = """\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
ifconfig lo 127.0.0.1
ifconfig eth0 10.0.2.15 netmask 255.255.255.0
route add default gw 10.0.2.2
. /etc/start
for console in /dev/tty0 /dev/ttyS0; do
  printf '\\ntiny GNU/Linux\\n\\ntiny login: ' > $console
done
while :; do sleep 1000; done
"""
SERVE: Final = "httpd -p 8080 -h /www\n"


@dataclass(frozen=True)
class Tiny:
    """What the disk does when it starts."""

    start: str = SERVE
    """Shell commands that run before the login prompt is shown."""
    options: str = ""
    """More words of the kernel's command line."""
    files: Mapping[str, str] = field(default_factory=lambda: {"www/index.html": PAGE})
    loader: bool = True
    """False leaves out both boot loaders."""
    uefi: bool = True
    """False leaves out the one for UEFI, for which mtools are needed."""


def make_disk(path: Path, tiny: Tiny | None = None) -> Path:
    """Make the raw disk at `path`: a second or two, once the cache is filled.

    Raises Unavailable where this machine has no packages of Debian, or a tool is missing.
    """
    tiny, parts = tiny or Tiny(), _Parts.cached()
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    slots = (
        Slot(BIOS_BOOT, "BIOS boot", CORE_START, CORE_BYTES),
        Slot(EFI_SYSTEM, "EFI system", EFI_START, EFI_BYTES),
        Slot(LINUX_DATA, "root", ROOT_START, ROOT_BYTES),
    )
    write_gpt(path, DISK_BYTES, slots)
    _write_root(path, parts, tiny)
    if tiny.loader:
        _write_bios_loader(path, parts)
    if tiny.loader and tiny.uefi:
        _write_efi_loader(path, parts)
    return path


def _write_root(path: Path, parts: "_Parts", tiny: Tiny) -> None:
    tree = path.with_name(path.name + ".tree")
    shutil.copytree(parts.system, tree, symlinks=True)
    texts = {"etc/start": tiny.start, "boot/grub.cfg": _MENU.format(options=tiny.options), **tiny.files}
    for name, text in texts.items():
        place = tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-L", "tiny-root", "-E", f"offset={ROOT_START}"]
    _run("mke2fs", *options, "-d", str(tree), str(path), str(ROOT_BYTES // 4096))
    shutil.rmtree(tree)


def _write_bios_loader(path: Path, parts: "_Parts") -> None:
    """As grub-bios-setup: boot.img says where the core lies, the core's first sector where its rest."""
    boot, core = bytearray(parts.boot_sector.read_bytes()[:440]), bytearray(parts.core.read_bytes())
    first = CORE_START // SECTOR
    struct.pack_into("<Q", boot, 0x5C, first)
    boot[0x66:0x68] = b"\x90\x90"
    rest = -(-len(core) // SECTOR) - 1
    struct.pack_into("<QHH", core, SECTOR - 12, first + 1, rest, 0x820)
    with path.open("r+b") as file:
        file.write(boot)
        file.seek(CORE_START)
        file.write(core)


def _write_efi_loader(path: Path, parts: "_Parts") -> None:
    image = f"{path}@@{EFI_START}"
    _run("mformat", "-i", image, "-T", str(EFI_BYTES // SECTOR), "-h", "16", "-s", "63", "::")
    _run("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    _run("mcopy", "-i", image, str(parts.efi), "::/EFI/BOOT/BOOTX64.EFI")


@dataclass(frozen=True)
class _Parts:
    """The pieces in the cache, which every disk shares."""

    folder: Path

    @classmethod
    def cached(cls) -> "_Parts":
        """The pieces; made by the first caller, for which the others wait."""
        base = Path.home() / ".cache" / "go2cloud-tiny-disk"
        base.mkdir(parents=True, exist_ok=True)
        lock = FileLock(base / "lock")
        while not lock.acquire():
            time.sleep(0.2)
        try:
            return cls._ready(base)
        finally:
            lock.release()

    @classmethod
    def _ready(cls, base: Path) -> "_Parts":
        ready, fresh = base / "parts-3", base / "parts.partial"
        if not ready.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            _make_parts(cls(fresh))
            fresh.rename(ready)
        return cls(ready)

    @property
    def packages(self) -> Path:
        """Debian's packages, unpacked."""
        return self.folder / "packages"

    @property
    def system(self) -> Path:
        """The tree of the ext4 filesystem."""
        return self.folder / "system"

    @property
    def boot_sector(self) -> Path:
        """GRUB's first sector."""
        return self.packages / "usr/lib/grub/i386-pc/boot.img"

    @property
    def core(self) -> Path:
        """GRUB for BIOS."""
        return self.folder / "core.img"

    @property
    def efi(self) -> Path:
        """GRUB for UEFI."""
        return self.folder / "bootx64.efi"


def _make_parts(parts: _Parts) -> None:
    _download(parts)
    _make_loaders(parts)
    kernel = next((parts.packages / "boot").glob("vmlinuz-*"))
    release = kernel.name.removeprefix("vmlinuz-")
    _fill(parts.system, parts, ("dev", "proc", "sys", "tmp", "etc", "www", "boot"))
    (parts.system / "init").write_text(_INIT)
    (parts.system / "init").chmod(0o755)
    shutil.copyfile(kernel, parts.system / "boot/vmlinuz")
    _make_initrd(parts, release)
    shutil.rmtree(parts.packages / "lib")


def _download(parts: _Parts) -> None:
    parts.packages.mkdir()
    depends = _run("apt-cache", "depends", KERNEL_PACKAGE).splitlines()
    kernel = next((line.split()[-1] for line in depends if "Depends: linux-image-" in line), None)
    if kernel is None:
        raise Unavailable(f"apt knows no {KERNEL_PACKAGE}", code="TOOL_MISSING", remedy="apt-get update")
    names = (kernel, "busybox-static", "grub-common", "grub-pc-bin", "grub-efi-amd64-bin")
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names, cwd=parts.folder)
    for package in parts.folder.glob("*.deb"):
        _run("dpkg", "-x", str(package), str(parts.packages))
        package.unlink()


def _make_loaders(parts: _Parts) -> None:
    early = parts.folder / "early.cfg"
    early.write_text(_EARLY)
    for form, output, drivers in (
        ("i386-pc", parts.core, ("biosdisk",)),
        ("x86_64-efi", parts.efi, EFI_MODULES),
    ):
        _run(
            str(parts.packages / "usr/bin/grub-mkimage"),
            *("-d", str(parts.packages / "usr/lib/grub" / form), "-O", form, "-p", "/boot"),
            *("-c", str(early), "-o", str(output), *GRUB_MODULES, *drivers),
        )


def _fill(tree: Path, parts: _Parts, folders: Iterable[str]) -> None:
    """A tree with busybox as /bin/busybox and a name for each of its commands."""
    for name in ("bin", *folders):
        (tree / name).mkdir(parents=True)
    busybox = next(
        path for path in parts.packages.rglob("busybox") if path.is_file() and path.parent.name == "bin"
    )
    shutil.copy(busybox, tree / "bin/busybox")
    for name in _run(str(busybox), "--list").split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")


def _make_initrd(parts: _Parts, release: str) -> None:
    tree = parts.folder / "initramfs"
    _fill(tree, parts, ("dev", "proc", "sys", "sbin"))
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")
    (tree / "init").write_text(_INITRAMFS_INIT.format(modules=" ".join(MODULES)))
    (tree / "init").chmod(0o755)
    source = parts.packages / "lib/modules" / release
    for module in _with_dependencies(source, parts.packages, release):
        place = tree / module.relative_to(parts.packages)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, place)
    for name in ("modules.order", "modules.builtin"):
        shutil.copyfile(source / name, tree / "lib/modules" / release / name)
    busybox = str(tree / "bin/busybox")
    _run(busybox, "depmod", "-b", str(tree), release)
    names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    cpio = subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc", "-R", "0:0"],
        cwd=tree,
        input=names.encode(),
        check=True,
        capture_output=True,
    ).stdout
    packed = subprocess.run(["gzip", "-9"], input=cpio, check=True, capture_output=True).stdout
    (parts.system / "boot/initrd").write_bytes(packed)
    shutil.rmtree(tree)


def _with_dependencies(source: Path, packages: Path, release: str) -> Iterator[Path]:
    """The files of MODULES, the modules that they need, and the CRC that ext4 asks for by name."""
    _run(str(packages / "bin/busybox"), "depmod", "-b", str(packages), release)
    needs = dict(line.split(":", 1) for line in (source / "modules.dep").read_text().splitlines())
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    wanted = {by_name[name] for name in (*MODULES, "crc32c_generic") if name in by_name}
    wanted |= {need for path in wanted for need in needs[path].split()}
    return (source / path for path in sorted(wanted))


def _run(*command: str, cwd: Path | None = None) -> str:
    """A command's output. Raises Unavailable with what it said, or where there is no such program."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if program is None:
        raise Unavailable(f"{command[0]} is not installed", code="TOOL_MISSING")
    done = subprocess.run([program, *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise Unavailable(f"{Path(command[0]).name} ended with {done.returncode}: {said}", code="TOOL_FAILED")
    return done.stdout
