"""The host's services, as its owner's hooks in one directory stop and start them.

    /etc/go2cloud/cutover.d/*  stop-services    stop them, and return when they are stopped
                               keep-stopped     see to it that a reboot does not start them
                               start-services   start them, and undo what keep-stopped did

Every phase may come again, also after one that was broken off. Where there is no program, nothing can be
stopped, and that is said. The directory is not that of the hooks around a freeze: one of those that does not
know these phases and succeeds must not pass for one that has stopped something.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from app.agent.daemon.hooks import HookResult, Hooks, IsOver, Phase
from app.agent.daemon.hooksleft import leaders_of

DIRECTORY: Final = Path("/etc/go2cloud/cutover.d")
LIMIT_SECONDS: Final = 300.0
"""A database may take minutes to stop."""
_GONE_SECONDS: Final = 10.0
_PHASES: Final = (Phase.STOP_SERVICES, Phase.KEEP_STOPPED, Phase.START_SERVICES)


class OwnServices:
    """Runs the hooks of one directory."""

    def __init__(self, directory: Path = DIRECTORY, limit: float = LIMIT_SECONDS) -> None:
        self._directory = directory
        self._hooks = Hooks(directory, limit)

    def stop(self, is_over: IsOver) -> tuple[HookResult, ...]:
        """Stop them in the order of the names, up to the first hook that fails or until `is_over`; nothing
        where there is no hook."""
        results: list[HookResult] = []
        for result in self._run(Phase.STOP_SERVICES, is_over):
            results.append(result)
            if not result.has_succeeded:
                break
        return tuple(results)

    def keep(self, is_over: IsOver) -> tuple[HookResult, ...]:
        """See to it that they stay stopped; all hooks, whatever one of them says."""
        return tuple(self._run(Phase.KEEP_STOPPED, is_over))

    def start(self, stopped: Collection[str], is_over: IsOver) -> tuple[HookResult, ...]:
        """Start them, in the reverse order: all hooks, whether they have stopped anything or not. One of
        `stopped` that is there no more is told."""
        results = tuple(self._run(Phase.START_SERVICES, is_over, is_reversed=True))
        missing = () if is_over() else sorted(set(stopped) - {result.name for result in results})
        return results + tuple(
            HookResult(name, Phase.START_SERVICES, None, refused=f"it is no program in {self._directory}")
            for name in missing
        )

    def _run(self, phase: Phase, is_over: IsOver, *, is_reversed: bool = False) -> Iterator[HookResult]:
        try:
            self._end_left()
            yield from self._hooks.run(phase, is_over, is_reversed=is_reversed)
        except OSError as error:
            yield HookResult(str(self._directory), phase, None, refused=f"unreadable: {error.strerror}")

    def _end_left(self) -> None:
        """End hooks of an agent that was killed: one that still stops services must not do so after others
        have started them."""
        ends = time.monotonic() + _GONE_SECONDS
        while (left := self._left()) and time.monotonic() < ends:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
            time.sleep(0.02)

    def _left(self) -> list[int]:
        programs = self._hooks.programs()
        return [found for path in programs for phase in _PHASES for found in leaders_of(path, phase)]
