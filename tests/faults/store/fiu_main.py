"""Whole runs in which the n-th system call of the process fails: below the store, and below SQLite too.

The failure comes out of the C library by libfiu's preloaded wrappers, which ask this program at each call:

    fiu-run -x python -m tests.faults.store.fiu_main --seed S --runs N [--minutes M]

Runs draw the call and the error from `SEED/number`. The last line on standard output is the outcome as JSON.
"""

import argparse
import asyncio
import ctypes
import errno
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

from app.kit.clock import ManualClock
from app.kit.errors import Go2CloudError
from tests.faults.store.sample_disk import three_contents
from tests.faults.store.store_services import ClockedCalls
from tests.faults.store.whole_run import START, Template, WholeRun

POINTS: Final = (
    "posix/io/oc/open",
    "posix/io/rw/pread",
    "posix/io/rw/pwrite",
    "posix/io/rw/writev",
    "posix/io/rw/pwrite/reduce",
    "posix/io/rw/writev/reduce",
    "posix/io/sync/fsync",
    "posix/io/sync/fdatasync",
    "posix/io/rw/ftruncate",
    "posix/io/dir/rename",
    "posix/io/dir/unlink",
)
ERRORS: Final = (errno.EIO, errno.ENOSPC)
NAMED: Final = (Go2CloudError, DBAPIError)

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint),
)


class Wrappers:
    """libfiu's failure points, all asking one function, which is called at every wrapped system call."""

    def __init__(self) -> None:
        """Enable the points; none fails yet. Raises OSError where the program was not started by fiu-run."""
        library = ctypes.CDLL("libfiu.so.0")
        self._code = 0
        self._at = 0
        self._armed = False
        self.calls = 0
        self.struck: str | None = None
        self._callback = _Callback(self._asked)
        for name in POINTS:
            failed = library.fiu_enable_external(name.encode(), 1, None, 0, self._callback)
            assert failed == 0, f"libfiu does not take the point {name}"

    def arm(self, at: int, code: int) -> None:
        """From now on the call number `at` fails with the error `code`; 0 fails none."""
        self.calls, self.struck = 0, None
        self._at, self._code, self._armed = at, code, True

    def heal(self) -> None:
        """Fail nothing more, and stop counting."""
        self._armed = False

    def _asked(self, name: bytes, _number: object, failinfo: Any, _flags: object) -> int:
        if not self._armed:
            return 0
        self.calls += 1
        if self.calls != self._at:
            return 0
        self.struck = name.decode()
        failinfo[0] = ctypes.c_void_p(self._code)
        return 1


@dataclass
class Outcome:
    """What the runs gave: calls of a whole run, runs in which an error came out, how often each point failed,
    and the violations."""

    runs: int = 0
    calls: int = 0
    refused: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


class FiuRuns:
    """Runs on copies of one template."""

    def __init__(self, wrappers: Wrappers, template: Template, folder: Path) -> None:
        """Work in `folder`."""
        self._wrappers = wrappers
        self._template = template
        self._folder = folder
        self.outcome = Outcome()

    def count(self) -> int:
        """The calls of a run in which none fails; also imports all that a run needs."""
        self._run(0, 0)
        self.outcome.calls = self._wrappers.calls
        return self._wrappers.calls

    def strike(self, at: int, code: int) -> None:
        """One run with the failure; note what comes of it."""
        found = self._run(at, code)
        name = self._wrappers.struck
        self.outcome.runs += 1
        if name is not None:
            self.outcome.struck[name] = self.outcome.struck.get(name, 0) + 1
        where = f"call {at} ({name}) with {errno.errorcode[code]}"
        self.outcome.violations += [f"{where}: {text}" for text in found]

    def _run(self, at: int, code: int) -> list[str]:
        clock = ManualClock(START)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            places = self._template.copied(Path(name))
            calls = ClockedCalls(clock)
            run = WholeRun(
                places, self._template.server, three_contents(), clock, calls, self._wrappers, NAMED
            )
            self._wrappers.arm(at, code)
            try:
                asyncio.run(run.go())
            except Exception as error:  # noqa: BLE001 - an error without a name of its own is a finding
                return [f"an error without a name came out: {error!r}"]
            finally:
                self._wrappers.heal()
        self.outcome.refused += bool(run.errors)
        return run.found


def main(arguments: list[str]) -> int:
    """Run; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.store.fiu_main")
    parser.add_argument("--seed", default="fiu")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--minutes", type=float)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="g2c-fiu-", dir="/dev/shm") as name:
        template = asyncio.run(Template.make(Path(name)))
        runs = FiuRuns(Wrappers(), template, Path(name))
        last = runs.count()
        for number in _numbers(asked.runs, asked.minutes):
            source = random.Random(f"{asked.seed}/{number}")
            runs.strike(source.randint(1, last), source.choice(ERRORS))
            _say(runs.outcome)
    print(json.dumps(asdict(runs.outcome)))
    return 1 if runs.outcome.violations else 0


def _numbers(runs: int | None, minutes: float | None) -> Iterator[int]:
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    number = 0
    while (runs is None or number < runs) and (end is None or time.monotonic() < end):
        yield number
        number += 1


def _say(outcome: Outcome) -> None:
    if outcome.runs % 100 == 0:
        print(f"{outcome.runs} runs, {len(outcome.violations)} violations", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
