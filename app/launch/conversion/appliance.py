"""libguestfs' appliance: a small machine that has the overlays as disks, and reads and writes their files.

The guest's filesystems are mounted by the appliance's kernel, not by the node's. Where the service is root,
QEMU opens the disks and then becomes the user of machines; it runs under its system call filter.
"""

import base64
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.kit.errors import Json
from app.launch.errors import ConversionFailed, ToolMissing
from app.launch.locking import locked
from app.launch.programs import QEMU, require_program

PYTHON: Final = "/usr/bin/python3"
"""The system's, for which distributions build the module `guestfs`."""
SERVER: Final = Path(__file__).with_name("appliance_server.py")
MEMORY_MIB: Final = 768
SECONDS: Final = 1800
"""After which a conversion that hangs, as over a damaged filesystem, is ended."""
REMEDY: Final = "apt-get install python3-guestfs linux-image-cloud-amd64 kmod; see docs/conversion.md"
_BOX: Final = "-sandbox on,obsolete=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True)
class ApplianceSettings:
    """Where the appliance is kept, and whom its QEMU runs as."""

    cache: Path
    """libguestfs builds the appliance here, once for each state of the node's packages: some 400 MB."""
    user: str | None = None
    """None: as we do."""
    kvm: bool = False
    """Whether KVM really works here."""


@dataclass
class Appliance:
    """A running appliance. Not for two threads at once, but for `kill`."""

    process: "subprocess.Popen[str]"
    scratch: Path
    """A folder for files that are fetched or brought."""
    words: Path
    dead: threading.Event = field(default_factory=threading.Event)

    def call(self, name: str, *args: str | int | bytes) -> Any:
        """What libguestfs' function of that name gives. Raises GuestError, ConversionFailed."""
        plain: list[Json] = [
            {"bytes": base64.b64encode(arg).decode()} if isinstance(arg, bytes) else arg for arg in args
        ]
        answer = self.ask({"name": name, "args": plain})
        if "error" in answer:
            raise GuestError(f"{name}: {answer['error']}")
        found = answer["found"]
        return (
            base64.b64decode(found["bytes"]) if isinstance(found, dict) and set(found) == {"bytes"} else found
        )

    def ask(self, question: Json) -> dict[str, Any]:
        """One line there and one back. Raises ConversionFailed where the process is gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (BrokenPipeError, ValueError) as error:
            raise self._gone() from error
        if not line:
            raise self._gone()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self) -> ConversionFailed:
        said = self.words.read_text(errors="replace").strip()[-2000:] if self.words.exists() else ""
        why = "it was ended" if self.dead.is_set() else said or "it said nothing"
        return ConversionFailed(f"the appliance that reads the disks is gone: {why}", remedy=REMEDY)

    def kill(self) -> None:
        """End it now; its disks are not usable any more."""
        self.dead.set()
        self.process.kill()


class GuestError(Exception):
    """libguestfs' word about one call."""


@contextlib.contextmanager
def started(
    disks: tuple[Path, ...], settings: ApplianceSettings, register: "list[Appliance]"
) -> Iterator[Appliance]:
    """An appliance with these overlays (qcow2), in this order; who may kill it finds it in `register`.

    Raises ToolMissing, ConversionFailed.
    """
    require_library()
    settings.cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    scratch = Path(tempfile.mkdtemp(prefix="go2cloud-conversion-"))
    try:
        appliance = _spawned(scratch, settings)
        register.append(appliance)
        timer = threading.Timer(SECONDS, appliance.kill)
        with appliance.process:
            timer.start()
            try:
                _launch(appliance, disks, settings)
                yield appliance
                _finish(appliance)
            finally:
                timer.cancel()
                appliance.kill()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def require_library() -> None:
    """Raises ToolMissing where libguestfs, or QEMU, is not installed."""
    require_program(QEMU)
    require_program("supermin")
    try:
        done = subprocess.run([PYTHON, "-I", "-c", "import guestfs"], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise ToolMissing(f"there is no {PYTHON}, which drives libguestfs", remedy=REMEDY) from error
    if done.returncode:
        raise ToolMissing("libguestfs is not installed: disks cannot be converted", remedy=REMEDY)


def _spawned(scratch: Path, settings: ApplianceSettings) -> Appliance:
    words = scratch / "words.txt"
    with words.open("w") as log:
        process = subprocess.Popen(
            [PYTHON, "-I", str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=_environment(scratch, settings),
        )
    return Appliance(process, scratch, words)


def _environment(scratch: Path, settings: ApplianceSettings) -> dict[str, str]:
    program = scratch / "qemu"
    box = f"-runas {shlex.quote(settings.user)} {_BOX}" if settings.user else _BOX
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(require_program(QEMU))} "$@" {box}\n')
    program.chmod(0o755)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_CACHEDIR": str(settings.cache),
        "LIBGUESTFS_HV": str(program),
    }
    if not settings.kvm:
        environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    return environment


def _launch(appliance: Appliance, disks: tuple[Path, ...], settings: ApplianceSettings) -> None:
    """The first one on a node builds the appliance, for which the others wait."""
    order: Json = {"disks": [str(disk) for disk in disks], "readonly": False, "memory": MEMORY_MIB}
    with locked(settings.cache / "go2cloud.lock"):
        answer = appliance.ask(order)
    if "error" in answer:
        said = appliance.words.read_text(errors="replace").strip()[-1000:]
        raise ConversionFailed(
            f"the appliance that reads the disks does not start: {answer['error']} {said}".strip(),
            remedy=f"see why: LIBGUESTFS_BACKEND=direct libguestfs-test-tool; or {REMEDY}",
        )


def _finish(appliance: Appliance) -> None:
    """Everything is on the overlays when its process ended well. Raises ConversionFailed."""
    assert appliance.process.stdin is not None
    appliance.process.stdin.close()
    if appliance.process.wait() != 0:
        said = appliance.words.read_text(errors="replace").strip()[-1000:]
        raise ConversionFailed(f"the appliance did not close the disks: {said}", remedy=REMEDY)


def machine_user(name: str) -> str | None:
    """Whom the appliance's QEMU becomes: nobody else where we are not root."""
    return name if os.geteuid() == 0 else None
