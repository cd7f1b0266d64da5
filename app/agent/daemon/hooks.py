"""The owner's hooks: programs in a directory, run before and after the filesystems are held still, or when a
cutover stops and starts the host's services (see `hold`).

They run one after the other in the order of their names, as root, with the phase as their argument and in
GO2CLOUD_PHASE. A hook that takes too long is killed with all its process group. What anybody but root
could have written is not run. What was run for `pre-freeze` is marked, so that its `post-thaw` comes also
where the agent is killed in between: see `hooksleft`.
"""

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Final

from app.agent.daemon.hookmark import HookMark

DIRECTORY: Final = Path("/etc/go2cloud/hooks.d")
LIMIT_SECONDS: Final = 30.0
OUTPUT_BYTES: Final = 64 * 1024
_SAFE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIECE: Final = 16 * 1024

IsOver = Callable[[], bool]


class Phase(StrEnum):
    """When a hook is run."""

    PRE_FREEZE = "pre-freeze"
    POST_THAW = "post-thaw"
    STOP_SERVICES = "stop-services"
    KEEP_STOPPED = "keep-stopped"
    START_SERVICES = "start-services"


class _End(Enum):
    """Why a hook ended: by itself, since it took too long, or since it is wanted no more."""

    OWN = auto()
    LATE = auto()
    OVER = auto()


@dataclass(frozen=True)
class HookResult:
    """How a hook ended. `exit_code` is negative for a signal and None where it was not run, for `refused`.

    `output` is the end of what it wrote, at most 64 KiB.
    """

    name: str
    phase: Phase
    exit_code: int | None
    seconds: float = 0.0
    output: str = ""
    timed_out: bool = False
    refused: str = ""
    was_broken_off: bool = False

    @property
    def has_succeeded(self) -> bool:
        """Whether it was run and said so."""
        return self.exit_code == 0 and not self.timed_out and not self.was_broken_off

    @property
    def was_run(self) -> bool:
        """Whether it was started, however it ended."""
        return self.exit_code is not None

    def __str__(self) -> str:
        """A sentence about it."""
        if self.refused:
            return f"hook {self.name} is not run: {self.refused}"
        if self.was_broken_off:
            return f"hook {self.name} {self.phase} was broken off after {self.seconds:.1f} s"
        if self.timed_out:
            return f"hook {self.name} {self.phase} was killed after {self.seconds:.0f} s"
        return f"hook {self.name} {self.phase} ended with {self.exit_code} after {self.seconds:.1f} s"


class Hooks:
    """The hooks of one directory. A directory that is not there has none."""

    def __init__(
        self, directory: Path = DIRECTORY, limit: float = LIMIT_SECONDS, mark: HookMark | None = None
    ) -> None:
        """Without a `mark` nobody finishes what is begun when this process is killed."""
        self._directory = directory
        self._limit = limit
        self._mark = mark

    def before_freeze(self) -> tuple[HookResult, ...]:
        """Run them for `pre-freeze`, up to the first that fails; refused ones are told and passed over.

        Whatever came of it, `after_thaw` is to be called with these results.
        """
        results: list[HookResult] = []
        for result in self._results(Phase.PRE_FREEZE):
            results.append(result)
            if result.was_run and not result.has_succeeded:
                break
        return tuple(results)

    def after_thaw(self, before: Collection[HookResult]) -> tuple[HookResult, ...]:
        """Run those for `post-thaw` that were run for `pre-freeze`, failed ones included."""
        results = self.finish([result.name for result in before if result.was_run])
        if self._mark is not None:
            self._mark.remove()
        return results

    def finish(self, names: Collection[str]) -> tuple[HookResult, ...]:
        """Run those with these names for `post-thaw`."""
        return tuple(self._results(Phase.POST_THAW, set(names).__contains__))

    def run(
        self, phase: Phase, is_over: IsOver = lambda: False, *, is_reversed: bool = False
    ) -> Iterator[HookResult]:
        """Run them all for a phase of a hold, one for each result that is taken; none after `is_over` holds,
        which also ends one that runs."""
        for result in self._results(phase, is_over=is_over, is_reversed=is_reversed):
            yield result
            if is_over():
                return

    def programs(self) -> tuple[Path, ...]:
        """What would be run."""
        return tuple(self._programs())

    def _results(
        self,
        phase: Phase,
        is_wanted: Callable[[str], bool] = lambda _: True,
        is_over: IsOver = lambda: False,
        *,
        is_reversed: bool = False,
    ) -> Iterator[HookResult]:
        programs = self._programs()
        for path in reversed(programs) if is_reversed else programs:
            if not is_wanted(path.name):
                continue
            refused = self._refusal(path) or self._unmarked(path, phase)
            if refused:
                yield HookResult(path.name, phase, None, refused=refused)
            else:
                yield _run(path, phase, self._limit, is_over)

    def _refusal(self, path: Path) -> str:
        """Why a program is not run; empty if it is. What goes wrong here must not keep the others from being
        run, or from being run again after the thaw."""
        try:
            return _doubt(self._directory) or _doubt(path)
        except OSError as error:
            return f"it cannot be examined: {error.strerror}"

    def _unmarked(self, path: Path, phase: Phase) -> str:
        """Mark a hook that is about to begin; why that cannot be done, empty if it is."""
        if self._mark is None or phase is not Phase.PRE_FREEZE:
            return ""
        try:
            self._mark.add(self._directory, path.name)
        except OSError as error:
            return f"it cannot be marked as begun: {error.strerror}"
        return ""

    def _programs(self) -> list[Path]:
        """What is executable; hidden files and editors' copies are none."""
        if not self._directory.is_dir():
            return []
        entries = (entry for entry in self._directory.iterdir() if not entry.name.startswith("."))
        return sorted(entry for entry in entries if not entry.name.endswith("~") and _is_program(entry))


def _is_program(path: Path) -> bool:
    """Whether it is an executable file. One that was just removed is none."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def _doubt(path: Path) -> str:
    """Why a file or directory may be another's work; empty if it is not."""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {status.st_uid}: it must belong to root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written by others than its owner: chmod go-w {path}"
    return ""


def _run(path: Path, phase: Phase, limit: float, is_over: IsOver) -> HookResult:
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            [path, phase.value],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"GO2CLOUD_PHASE": phase.value, "PATH": _SAFE_PATH, "LANG": "C.UTF-8", "HOME": "/root"},
            start_new_session=True,
        )
    except OSError as error:
        return HookResult(path.name, phase, None, refused=f"it cannot be started: {error.strerror}")
    with process:
        output, end = _watch(process, began + limit, is_over)
    return HookResult(
        name=path.name,
        phase=phase,
        exit_code=process.returncode,
        seconds=time.monotonic() - began,
        output=output.decode("utf-8", "replace"),
        timed_out=end is _End.LATE,
        was_broken_off=end is _End.OVER,
    )


def _watch(process: subprocess.Popen[bytes], ends: float, is_over: IsOver) -> tuple[bytes, _End]:
    """The end of a hook's output, and whether and why it had to be killed.

    The hook's own end counts, not that of its output: a service that it started keeps the pipe open.
    """
    assert process.stdout
    out, kept = process.stdout.fileno(), b""
    os.set_blocking(out, False)
    poll = select.poll()
    poll.register(out, select.POLLIN)
    while process.poll() is None:
        end = _End.LATE if time.monotonic() >= ends else _End.OVER if is_over() else None
        if end is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _kept(kept, out), end
        if poll.poll(50):
            more = _available(out)
            kept = (kept + more)[-OUTPUT_BYTES:]
            if not more:
                poll.unregister(out)
    return _kept(kept, out), _End.OWN


def _kept(kept: bytes, out: int) -> bytes:
    """What was kept, and what is there still."""
    while more := _available(out):
        kept = (kept + more)[-OUTPUT_BYTES:]
    return kept


def _available(out: int) -> bytes:
    try:
        return os.read(out, _PIECE)
    except BlockingIOError:
        return b""
