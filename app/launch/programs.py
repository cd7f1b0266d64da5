"""The programs and the firmware that drivers need from the node."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.errors import ToolMissing
from app.launch.threads import Stop

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
_LOOK: Final = 0.2
"""Seconds between looks at `Stop` while a program runs."""
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


def run_stoppable(command: Sequence[str], stop: Stop) -> "subprocess.CompletedProcess[str]":
    """A program's end and what it said, which is short. Raises LaunchStopped, when the program has ended."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                stop.check()
                try:
                    said, complained = process.communicate(timeout=_LOOK)
                except subprocess.TimeoutExpired:
                    continue
                return subprocess.CompletedProcess(command, process.returncode, said, complained)
        finally:
            process.kill()  # harmless where it has ended


def require_ovmf() -> Ovmf:
    """OVMF, wherever the distribution puts it. Raises ToolMissing."""
    for code, variables in _OVMF:
        if Path(code).is_file() and Path(variables).is_file():
            return Ovmf(Path(code), Path(variables))
    raise ToolMissing("UEFI firmware (OVMF) is not installed", remedy="apt-get install ovmf")
