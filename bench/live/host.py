"""The host that is replicated: a loop device, and a program that has it mounted and writes to it."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.network import End
from bench.processes import Process, Processes, ProcessFailed

_SECTOR: Final = 512
_SECTORS_WRITTEN: Final = 6
"""The field of /sys/block/*/stat; Documentation/block/stat.rst."""
_ANSWER_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Disk:
    """A loop device and the file behind it, past whose page cache it writes."""

    device: Path
    backing: Path

    def written(self) -> int:
        """Bytes that were written to it since it was made."""
        fields = Path(f"/sys/block/{self.device.name}/stat").read_text().split()
        return int(fields[_SECTORS_WRITTEN]) * _SECTOR


@contextmanager
def loop_disk(backing: Path, device: str = "--find") -> Iterator[Disk]:
    """A block device on a file, gone at the end; the first free one, or that of a name."""
    command = ["losetup", device, "--show", "--direct-io=on", str(backing)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    disk = Disk(Path(shown.strip() or device), backing)
    try:
        yield disk
    finally:
        subprocess.run(["losetup", "--detach", str(disk.device)], check=True)


class Host:
    """A mounted filesystem, quiet until told otherwise; see `bench.live.writer`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the program that has the filesystem mounted."""
        return self._process.popen.pid

    def churn(self, rate: int) -> int:
        """Write so many bytes a second from now on; the bytes written before."""
        return self._order(f"churn {rate}")

    def scatter(self, seed: int, amount: int) -> int:
        """Change so many bytes in single blocks all over; how many were changed."""
        return self._order(f"scatter {seed} {amount}")

    def replace(self, seed: int, amount: int) -> int:
        """Change whole files; the bytes of their new content."""
        return self._order(f"replace {seed} {amount}")

    def await_ready(self) -> None:
        """Wait until the filesystem is mounted. Raises ProcessFailed."""
        if self._line() != "ready":
            raise self._failed()

    def _order(self, text: str) -> int:
        assert self._process.popen.stdin is not None
        self._process.popen.stdin.write(text.encode() + b"\n")
        self._process.popen.stdin.flush()
        answer = self._line()
        if not answer.isdecimal():
            raise self._failed()
        return int(answer)

    def _line(self) -> str:
        """The next line that it says; what there is of it where it says no more."""
        assert self._process.popen.stdout is not None
        pipe, said = self._process.popen.stdout.fileno(), b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], _ANSWER_SECONDS)
            more = os.read(pipe, 4096) if ready else b""
            if not more:
                break
            said += more
        return said.decode().strip()

    def _failed(self) -> ProcessFailed:
        return ProcessFailed(f"the writer did not answer:\n{self._process.log.read_text(errors='replace')}")


@contextmanager
def running(disk: Disk, processes: Processes) -> Iterator[Host]:
    """The disk's filesystem, mounted in a mount namespace of its own; unmounted at the end."""
    program = [sys.executable, "-m", "bench.live.writer", str(disk.device), str(processes.folder / "mounted")]
    command = ["unshare", "--mount", "--propagation", "private", *program]
    process = processes.start(End.SOURCE, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        host = Host(process)
        host.await_ready()
        yield host
    finally:
        for pipe in (process.popen.stdin, process.popen.stdout):
            assert pipe is not None
            pipe.close()
        process.require_good(_ANSWER_SECONDS)
