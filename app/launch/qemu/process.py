"""Processes of machines: starting one that outlives us, and ending exactly that one, never a stranger."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from app.launch.errors import MachineRefused, TargetBusy

STARTER: Final = Path(__file__).with_name("starter.py")
END_SECONDS: Final = 30
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Start:
    """What the starter needs; descriptors are inherited."""

    argv: tuple[str, ...]
    record: str
    log: int
    lock: int
    memory: int
    """Bytes of address space."""
    file_bytes: int
    """Bytes that a file may have."""
    files: int = 1024
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()


def spawn(start: Start, descriptors: Sequence[int]) -> None:
    """Start a process that becomes the machine. Raises MachineRefused where not even the starter ran."""
    command = [sys.executable, "-I", "-S", str(STARTER), json.dumps(asdict(start))]
    passed = (*descriptors, start.log, start.lock)
    done = subprocess.run(
        command, pass_fds=passed, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise MachineRefused(f"the starter of the machine ended with {done.returncode}: {said}")


@dataclass(frozen=True)
class ProcessRecord:
    """A process by its number, its start in ticks since the boot, and the boot."""

    pid: int
    start: int
    boot: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record at `path`; None where there is none."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(int(found["pid"]), int(found["start"]), str(found["boot"]))

    def alive(self) -> bool:
        """Whether that very process runs; one that ended and was not yet waited for does not."""
        if self.boot != boot_id():
            return False
        with contextlib.suppress(ChildProcessError):  # init's child, as a rule: then init waits for it
            os.waitpid(self.pid, os.WNOHANG)
        found = _state_and_start(self.pid)
        return found is not None and found[1] == self.start and found[0] not in "ZX"

    def age(self) -> float:
        """Seconds since it was started, by a clock that counts from the boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start / _TICK

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end, at most so long."""
        until = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > until:
                return False
            time.sleep(0.2)
        return True

    def kill(self) -> None:
        """End it and wait until it is gone; harmless when it is. Raises TargetBusy where it does not go.

        The descriptor of the process is taken before its identity is looked at: a number that was given to
        another process in between is never signalled.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], END_SECONDS)[0]:
                raise TargetBusy(
                    f"the machine's process {self.pid} does not end",
                    remedy="look at its state and the node's storage",
                )
            self.alive()
        finally:
            os.close(handle)


def boot_id() -> str:
    """The id of this boot of the node."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """A process's state letter and start time (proc(5): fields 3 and 22); None when there is none."""
    try:
        words = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    return words[0], int(words[19])
