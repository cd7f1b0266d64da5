"""The `post-thaw` of hooks whose agent was killed between their `pre-freeze` and it.

A database that was told to hold its files still would do so until somebody looks. To be called when nothing
is frozen any more: a hook may write.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.agent.daemon.errors import StateError
from app.agent.daemon.hookmark import LeftMark, take_left
from app.agent.daemon.hooks import LIMIT_SECONDS, HookResult, Hooks, Phase

_PROC: Final = Path("/proc")


def finish_left(run: Path, limit: float = LIMIT_SECONDS) -> tuple[HookResult, ...]:
    """Run what is left undone by agents that kept their marks in `run`; what came of it.

    A `pre-freeze` that runs still has `limit` seconds to end. Raises StateError where marks cannot be read.
    """
    try:
        return tuple(result for mark in take_left(run) for result in _finish(mark, limit))
    except OSError as error:
        raise StateError(
            f"the marks of hooks in {run} cannot be read: {error.strerror}", remedy="run it as root"
        ) from error


def _finish(mark: LeftMark, limit: float) -> Iterator[HookResult]:
    for name in mark.names:
        _await_end(mark.directory / name, time.monotonic() + limit)
    results = Hooks(mark.directory, limit).finish(mark.names)
    yield from results
    for name in sorted(set(mark.names) - {result.name for result in results}):
        yield HookResult(
            name, Phase.POST_THAW, None, refused=f"it is no program in {mark.directory} any more"
        )


def _await_end(program: Path, ends: float) -> None:
    """Wait for a `pre-freeze` that its agent started; kill it as the agent would have."""
    while running := leaders_of(program, Phase.PRE_FREEZE):
        if time.monotonic() >= ends:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
            return
        time.sleep(0.05)


def leaders_of(program: Path, phase: Phase) -> list[int]:
    """The leaders of sessions that are this hook at work for this phase."""
    wanted = os.fsencode(program) + b"\0" + phase.encode() + b"\0"
    found = []
    for entry in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().endswith(wanted):
                process = int(entry.name)
                found += [process] if os.getsid(process) == process else []
    return found
