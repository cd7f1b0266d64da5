"""Whether KVM works here: by really starting firmware under it, with a deadline.

/dev/kvm may open, make machines, and then hang, stop with an internal error, or abort QEMU. So UEFI firmware,
a megabyte of 64-bit code with paging and interrupts, is booted without a disk until its boot manager
speaks. The verdict lies in a file with the boot's id, since a reboot may change the kernel, and the
version of QEMU.
"""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator
from app.launch.durable import write_json
from app.launch.errors import ToolMissing
from app.launch.programs import QEMU, require_ovmf, require_program
from app.launch.qemu.commandline import ACCELERATION
from app.launch.qemu.process import boot_id

DEADLINE_SECONDS: Final = 30
KVM: Final = Path("/dev/kvm")
_SPEAKS: Final = b"BdsDxe"


@dataclass(frozen=True)
class Verdict:
    """What was found, for one boot of the node and one QEMU."""

    accelerator: Accelerator
    reason: str
    boot: str
    qemu: str


def choose(cache: Path) -> Verdict:
    """The verdict of this boot: from the file `cache`, or found and written there. Blocks for up to 30 s.

    Raises ToolMissing without QEMU or OVMF.
    """
    boot, version = boot_id(), _version()
    known = _read(cache)
    if known is not None and (known.boot, known.qemu) == (boot, version):
        return known
    reason = _why_not_kvm()
    found = Verdict(
        Accelerator.KVM if reason is None else Accelerator.TCG,
        reason or "firmware ran under KVM",
        boot,
        version,
    )
    keep(cache, found)
    return found


def condemn(cache: Path, reason: str) -> None:
    """A machine failed under KVM although firmware ran: do without until the next boot."""
    keep(cache, Verdict(Accelerator.TCG, reason, boot_id(), _version()))


def keep(cache: Path, verdict: Verdict) -> None:
    """Write the verdict down."""
    cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(cache, asdict(verdict))


def _read(cache: Path) -> Verdict | None:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Verdict(Accelerator(found["accelerator"]), found["reason"], found["boot"], found["qemu"])


def _version() -> str:
    done = subprocess.run(
        [require_program(QEMU), "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.partition("\n")[0]


def _why_not_kvm() -> str | None:
    """None where firmware ran under KVM; else what happened instead."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} is not there, or not for us"
    try:
        ovmf = require_ovmf()
    except ToolMissing as error:
        raise ToolMissing(
            f"{error.detail}, and KVM cannot be tried without it", remedy=error.remedy
        ) from error
    with tempfile.TemporaryDirectory(prefix="go2cloud-kvm-") as folder:
        serial = Path(folder, "serial.log")
        serial.touch()
        command = [
            *(require_program(QEMU), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "q35,graphics=off", *ACCELERATION[Accelerator.KVM], "-m", "128M"),
            *("-drive", f"if=pflash,format=raw,readonly=on,file={ovmf.code}", "-serial", f"file:{serial}"),
        ]
        return _tried(command, serial)


def _tried(command: list[str], serial: Path) -> str | None:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until and process.poll() is None:
            if _SPEAKS in serial.read_bytes():
                process.kill()
                return None
            time.sleep(0.1)
        ended = process.poll()
        process.kill()
        said = (process.stderr.read() if process.stderr else "").strip()[-500:]
    if ended is None:
        return f"firmware said nothing under KVM within {DEADLINE_SECONDS} s. {said}".strip()
    return f"QEMU ended with {ended} under KVM: {said}"
