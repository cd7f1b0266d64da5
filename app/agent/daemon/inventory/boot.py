"""How the host boots: loaders, kernels, what makes their initrds, SELinux."""

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Boot, Inventory

_VARIABLES: Final = Path("/sys/firmware/efi/efivars")
_GLOBAL: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_ATTRIBUTES: Final = 4
"""Bytes before a variable's content in efivarfs."""
_FILE_PATH: Final = (4, 4)
"""Type and subtype of the node that names a file (UEFI specification 2.10, 10.3.5.4)."""
_TOOLS: Final = ("update-initramfs", "dracut", "mkinitcpio")
_LOADERS: Final = ("grub-install", "grub2-install", "bootctl", "extlinux", "lilo")
_SBIN: Final = os.pathsep.join(
    ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
)
_MOST_LINE: Final = 8192


def collect_boot(found: Inventory) -> Inventory:
    """Fill in boot."""
    modules = Path("/lib/modules")
    boot = Boot(
        efi_loaders=tuple(efi_loaders(_VARIABLES)),
        kernels=tuple(sorted(path.name for path in modules.iterdir())) if modules.is_dir() else (),
        initrd_tools=tuple(name for name in _TOOLS if shutil.which(name, path=_SBIN)),
        loaders=tuple(name for name in _LOADERS if shutil.which(name, path=_SBIN)),
        command_line=Path("/proc/cmdline").read_text(errors="replace").strip()[:_MOST_LINE],
        selinux=_selinux(),
    )
    return replace(found, boot=boot)


def _selinux() -> str:
    enforce = Path("/sys/fs/selinux/enforce")
    if not enforce.exists():
        return ""
    return "enforcing" if enforce.read_text().strip() == "1" else "permissive"


def efi_loaders(variables: Path) -> Iterator[str]:
    """Paths of the files that the firmware starts from a disk: that of this boot, then in its order."""
    numbers = [*_numbers(variables, "BootCurrent"), *_numbers(variables, "BootOrder")]
    for number in dict.fromkeys(numbers):
        path = variables / f"Boot{number:04X}-{_GLOBAL}"
        loader = loader_of(path.read_bytes()[_ATTRIBUTES:]) if path.exists() else ""
        if loader:
            yield loader


def _numbers(variables: Path, name: str) -> tuple[int, ...]:
    path = variables / f"{name}-{_GLOBAL}"
    content = path.read_bytes()[_ATTRIBUTES:] if path.exists() else b""
    return struct.unpack(f"<{len(content) // 2}H", content[: len(content) // 2 * 2])


def loader_of(option: bytes) -> str:
    r"""The file of a load option (UEFI specification 2.10, 3.1.3), \EFI\debian\shimx64.efi, or nothing."""
    if len(option) < 6:
        return ""
    (length,) = struct.unpack_from("<H", option, 4)
    at = 6
    while option[at : at + 2] not in (b"\0\0", b""):
        at += 2
    at += 2
    return "".join(_file_paths(option[at : at + length]))


def _file_paths(nodes: bytes) -> Iterator[str]:
    at = 0
    while at + 4 <= len(nodes):
        kind, subkind, length = struct.unpack_from("<BBH", nodes, at)
        if length < 4:
            return
        if (kind, subkind) == _FILE_PATH:
            yield nodes[at + 4 : at + length].decode("utf-16-le", "replace").rstrip("\0")
        at += length
