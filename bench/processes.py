"""The processes of a peer: started at one end of the wire, and what each has cost so far.

The CPU time of a process that ended is what wait4 reports, children that it waited for included; of one that
runs it is read from /proc, over its whole tree. Peak memory is the sum of VmHWM over a tree, looked at twenty
times a second: a process cannot be asked any more once it has ended.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from bench.network import End, Network

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS: Final = 0.05
_END_SECONDS: Final = 20.0
_REPOSITORY: Final = Path(__file__).parent.parent

File = IO[bytes] | int | None


class ProcessFailed(Exception):
    """A process of a peer ended with an error, or did not come up."""


@dataclass
class Process:
    """A started process; `spent` is its CPU seconds once it has ended."""

    popen: "subprocess.Popen[bytes]"
    end: End
    log: Path
    spent: float | None = None
    peak: int = 0

    def cpu(self) -> float:
        """CPU seconds so far, its children included."""
        return self.spent if self.spent is not None else _tree_cpu(self.popen.pid)

    def wakeups(self) -> int:
        """How often its threads went to sleep so far, and were woken."""
        return sum(_wakeups(member) for member in _tree(self.popen.pid))

    def look(self) -> None:
        """Note the peak memory."""
        if self.spent is None:
            self.peak = max(self.peak, _tree_peak(self.popen.pid))

    def forget_peak(self) -> None:
        """Measure peak memory anew from now on."""
        self.peak = 0
        if self.spent is None:
            Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def wait(self, seconds: float) -> int:
        """Wait until it ends; its exit code. Raises ProcessFailed when it does not in time."""
        if self.spent is None:
            handle = os.pidfd_open(self.popen.pid)
            try:
                ready, _, _ = select.select([handle], [], [], seconds)
            finally:
                os.close(handle)
            if not ready:
                raise ProcessFailed(f"{self.popen.args!r} did not end within {seconds} s")
            _, status, usage = os.wait4(self.popen.pid, 0)
            self.popen.returncode = os.waitstatus_to_exitcode(status)
            self.spent = usage.ru_utime + usage.ru_stime
        return self.popen.returncode

    def require_good(self, seconds: float = 3600.0) -> None:
        """Wait for a good end. Raises ProcessFailed with what it said."""
        if self.wait(seconds) != 0:
            said = self.log.read_text(errors="replace")[-2000:]
            raise ProcessFailed(f"{self.popen.args!r} ended with {self.popen.returncode}:\n{said}")

    def stop(self) -> None:
        """End it, at once if it does not listen."""
        if self.spent is not None:
            return
        os.kill(self.popen.pid, signal.SIGTERM)  # Popen.send_signal would reap it unseen
        try:
            self.wait(_END_SECONDS)
        except ProcessFailed:
            os.kill(self.popen.pid, signal.SIGKILL)
            self.wait(_END_SECONDS)


def require_all_good(processes: Sequence[Process]) -> None:
    """Wait for the good end of all. Raises ProcessFailed with what each one said that failed."""
    failures: list[str] = []
    for process in processes:
        try:
            process.require_good()
        except ProcessFailed as error:
            failures.append(str(error))
    if failures:
        raise ProcessFailed("\n".join(failures))


@dataclass
class Processes:
    """Starts processes at the ends of a network and remembers them."""

    network: Network
    folder: Path
    started: list[Process] = field(default_factory=list)

    def start(
        self,
        end: End,
        command: Sequence[str],
        *,
        stdin: File = subprocess.DEVNULL,
        stdout: File = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Run a command at an end. What it says goes into a log of its own unless `stdout` is given."""
        log = self.folder / f"{len(self.started)}-{Path(command[0]).name}.log"
        with log.open("wb") as said:
            popen = subprocess.Popen(
                self.network.inside(end, list(command)),
                stdin=stdin,
                stdout=said if stdout is None else stdout,
                stderr=said,
                env={**os.environ, **(environment or {})},
                cwd=_REPOSITORY,
            )
        process = Process(popen, end, log)
        self.started.append(process)
        return process

    def pipe(self, end: End, *commands: Sequence[str]) -> list[Process]:
        """Run commands at an end, each reading what the one before it writes."""
        made: list[Process] = []
        source: File = subprocess.DEVNULL
        for command in commands:
            is_last = command is commands[-1]
            process = self.start(end, command, stdin=source, stdout=None if is_last else subprocess.PIPE)
            if made and made[-1].popen.stdout is not None:
                made[-1].popen.stdout.close()
            source = process.popen.stdout
            made.append(process)
        return made

    def run(self, end: End, command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
        """Run a command to its good end; what it said. Raises ProcessFailed."""
        process = self.start(end, command, environment=environment)
        process.require_good()
        return process.log.read_text()

    def await_listener(self, process: Process, port: int, seconds: float = 60.0) -> None:
        """Wait until something at the process's end listens on the port. Raises ProcessFailed."""
        deadline = time.monotonic() + seconds
        while not _listens(process.popen.pid, port):
            handle = os.pidfd_open(process.popen.pid)
            ended, _, _ = select.select([handle], [], [], 0.01)
            os.close(handle)
            if ended or time.monotonic() > deadline:
                said = process.log.read_text(errors="replace")[-2000:]
                raise ProcessFailed(f"{process.popen.args!r} does not listen on port {port}:\n{said}")

    def stop(self) -> None:
        """End all that still runs."""
        for process in reversed(self.started):
            process.stop()


class Watch:
    """Looks at the memory of all processes while it is entered."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> None:
        for process in self._processes.started:
            process.forget_peak()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for process in tuple(self._processes.started):
                process.look()


def _listens(pid: int, port: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


def _tree(pid: int) -> list[int]:
    """The process and all below it that still exist."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(found for child in below for found in _tree(child))]


def _tree_cpu(pid: int) -> float:
    return sum(_cpu(member) for member in _tree(pid))


def _cpu(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11:15]) / _TICKS


def _tree_peak(pid: int) -> int:
    return sum(_peak(member) for member in _tree(pid))


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return sum(int(words[1]) * 1024 for words in lines)


def _wakeups(pid: int) -> int:
    try:
        found = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return 0
    lines = (line.split() for status in found for line in status.splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "voluntary_ctxt_switches:")
