"""The programs and the firmware that drivers need from the node."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.errors import ToolMissing

QEMU: Final = "qemu-system-x86_64"
QEMU_IMG: Final = "qemu-img"
VIRSH: Final = "virsh"
RBD: Final = "rbd"
CEPH: Final = "ceph"
_OVMF: Final = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)
"""Debian and Ubuntu, older ones of them, Fedora and its family, Arch."""
_PACKAGES: Final = {
    QEMU: "qemu-system-x86 (and seabios)",
    QEMU_IMG: "qemu-utils",
    VIRSH: "libvirt-clients",
    RBD: "ceph-common",
    CEPH: "ceph-common",
}
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/libexec"


@dataclass(frozen=True)
class Ovmf:
    """UEFI for virtual machines: code, and the variables that a new machine begins with."""

    code: Path
    variables: Path


def require_program(name: str) -> str:
    """The path of a program. Raises ToolMissing with Debian's package."""
    found = shutil.which(name) or shutil.which(name, path=_PATH)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise ToolMissing(
            f"{name} is not installed", remedy=f"apt-get install --no-install-recommends {package}"
        )
    return found


def require_ovmf() -> Ovmf:
    """OVMF, wherever the distribution puts it. Raises ToolMissing."""
    for code, variables in _OVMF:
        if Path(code).is_file() and Path(variables).is_file():
            return Ovmf(Path(code), Path(variables))
    raise ToolMissing("UEFI firmware (OVMF) is not installed", remedy="apt-get install ovmf")
