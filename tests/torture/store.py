"""The store's faults at length: power cuts, every n-th call failing, calls of the C library failing.

    python -m tests.torture.store --minutes N --seed S

Half of the time goes to power cuts, the rest to the other two. Needs root, and the Debian packages
libnbd-bin, fuse3 and fiu-utils. Ends with a report; the exit status is 1 when something was violated. Each
violation names the seed with which it is seen again.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.store.failing_calls import FailingCalls, Fault
from tests.faults.store.fiu_main import Outcome
from tests.faults.store.power_cycles import Tally
from tests.faults.store.sample_disk import three_contents
from tests.faults.store.store_ledger import Ledger
from tests.faults.store.whole_run import Template, run_with

MOST_CALLS = 120
MOST_WRITES = 20
"""About as many as a whole run makes."""


def main(arguments: list[str]) -> int:
    """Torture for the given minutes; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.store")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", default="torture")
    asked = parser.parse_args(arguments)
    ledger, violations = Ledger(), list[str]()
    violations += power_cuts(ledger, asked.seed, asked.minutes / 2)
    violations += asyncio.run(failing_calls(ledger, asked.seed, asked.minutes / 4))
    violations += failing_library(ledger, asked.seed, asked.minutes / 4)
    print("\n".join([*violations, "", *ledger.lines()]))
    return 1 if violations else 0


def power_cuts(ledger: Ledger, seed: str, minutes: float) -> list[str]:
    """Power-cut cycles; see `tests.faults.store.power_main`."""
    apart = ("unshare", "--mount", "--propagation", "private")
    tally = Tally(
        **_outcome(*apart, sys.executable, "-m", "tests.faults.store.power_main", **_limits(seed, minutes))
    )
    ledger.note("power cuts", cycles=tally.cycles, violations=len(tally.violations))
    return tally.violations


def failing_library(ledger: Ledger, seed: str, minutes: float) -> list[str]:
    """Runs under libfiu; see `tests.faults.store.fiu_main`."""
    command = ("fiu-run", "-x", sys.executable, "-m", "tests.faults.store.fiu_main")
    outcome = Outcome(**_outcome(*command, **_limits(seed, minutes)))
    faults = sum(outcome.struck.values())
    ledger.note("libfiu", cycles=outcome.runs, faults=faults, violations=len(outcome.violations))
    return outcome.violations


async def failing_calls(ledger: Ledger, seed: str, minutes: float) -> list[str]:
    """Whole runs over disks that change by chance, in which one call fails; `SEED/number` names each."""
    end, violations = time.monotonic() + 60 * minutes, list[str]()
    with tempfile.TemporaryDirectory(prefix="g2c-nth-", dir="/dev/shm") as name:
        template = await Template.make(Path(name))
        for number in count():
            if time.monotonic() > end:
                break
            source = random.Random(f"{seed}/{number}")
            fault = source.choice(list(Fault))
            at = source.randint(1, MOST_WRITES if fault is Fault.SHORT_WRITE else MOST_CALLS)
            calls, contents = partial(FailingCalls, fault=fault, at=at), three_contents(source)
            run, failing = await run_with(template, Path(name, "run"), calls, contents)
            ledger.note(f"n-th call: {fault}", cycles=1, faults=failing.failed, violations=len(run.found))
            violations += [f"seed {seed}/{number}, {fault} at call {at}: {text}" for text in run.found]
    return violations


def _limits(seed: str, minutes: float) -> dict[str, str]:
    return {"seed": seed, "minutes": str(minutes)}


def _outcome(*command: str, **options: str) -> dict[str, Any]:
    """Run a program whose last line is its outcome; what it says meanwhile is shown."""
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = subprocess.run([*command, *flags], stdout=subprocess.PIPE, text=True)
    assert done.stdout, f"{command} ended with {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
