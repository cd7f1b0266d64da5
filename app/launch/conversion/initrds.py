"""What an initrd holds, and the archive that completes it."""

import stat
from collections.abc import Iterable, Mapping
from typing import Final

from app.launch.conversion import cpio
from app.launch.conversion.cpio import Member
from app.launch.conversion.drivers import name_of
from app.launch.conversion.inspection import Initrd, InitrdMaker
from app.launch.conversion.unpacking import InitrdUnreadable, members
from app.launch.errors import ToolMissing

ALIGNMENT: Final = 512
"""Where archives begin that follow another one."""
_TEXTS: Final = ("conf/", "etc/modules-load.d/", "etc/lvm/devices/", "etc/crypttab", "cryptroot/")
_MOST_TEXT: Final = 65536
_MODULE: Final = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")


def holding(path: str, data: bytes, release: str) -> Initrd:
    """What this initrd holds of that kernel's. One that cannot be read says why in `unreadable`."""
    try:
        return _holding(path, list(members(data)), len(data), release)
    except (InitrdUnreadable, ToolMissing) as error:
        return Initrd(path, len(data), InitrdMaker.UNKNOWN, frozenset(), unreadable=str(error))


def _holding(path: str, found: list[Member], size: int, release: str) -> Initrd:
    names = {_plain(member.name): member for member in found}
    return Initrd(
        path=path,
        size=size,
        maker=_maker(names),
        modules=frozenset(name_of(name) for name in names if _is_module(name, release)),
        lib="usr/lib" if "lib" in names and stat.S_ISLNK(names["lib"].mode) else "lib",
        texts={
            name: member.content.decode(errors="surrogateescape")
            for name, member in names.items()
            if name.startswith(_TEXTS) and stat.S_ISREG(member.mode) and len(member.content) < _MOST_TEXT
        },
    )


def modules_of(data: bytes, release: str) -> dict[str, bytes]:
    """The modules of that kernel in an initrd: paths below the kernel's folder, and contents."""
    marker = f"lib/modules/{release}/"
    return {
        _plain(member.name).partition(marker)[2]: member.content
        for member in members(data)
        if _is_module(_plain(member.name), release) and stat.S_ISREG(member.mode)
    }


def _is_module(name: str, release: str) -> bool:
    return f"lib/modules/{release}/" in name and name.endswith(_MODULE)


def _plain(name: str) -> str:
    return name.removeprefix("./").lstrip("/")


def _maker(names: Mapping[str, Member]) -> InitrdMaker:
    if "scripts/functions" in names and "conf/initramfs.conf" in names:
        return InitrdMaker.INITRAMFS_TOOLS
    if any(name.startswith(("usr/lib/dracut/", "lib/dracut/")) for name in names):
        return InitrdMaker.DRACUT
    if "init_functions" in names:
        return InitrdMaker.MKINITCPIO
    return InitrdMaker.UNKNOWN


def archive(size: int, files: Iterable[tuple[str, bytes]]) -> bytes:
    """What is to stand behind an initrd of `size` bytes: zeros up to the alignment, and these files."""
    padding = bytes(-size % ALIGNMENT)
    return padding + cpio.write(Member(name, cpio.FILE, content) for name, content in files)
