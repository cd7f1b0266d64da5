"""Power-cut cycles as a program, so that its mounts are its own.

It must run in a mount namespace of its own: a process elsewhere that copies its namespace meanwhile would
keep the filesystems of a dead machine mounted, and their devices busy.

    unshare --mount --propagation private python -m tests.faults.store.power_main --seed S --cycles N

Progress goes to standard error, one line a cycle; the last line on standard output is the outcome as JSON.
With `--mutant` the cuts are aimed at promises, and the run ends at the first violation.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.faults.store.power_cycles import Plan, PowerCycles, Tally
from tests.faults.store.power_rig import PowerRig
from tests.faults.store.power_worker import Mutant


def main(arguments: list[str]) -> int:
    """Run; 0 unless a cycle without a mutant found a violation."""
    asked = _parser().parse_args(arguments)
    mutant = Mutant(asked.mutant) if asked.mutant else None
    with tempfile.TemporaryDirectory(prefix="g2c-power-") as name, PowerRig(Path(name, "rig")) as rig:
        cycles = PowerCycles(rig, Path(name, "scratch"))
        cycles.prepare()
        for number in _numbers(asked.cycles, asked.minutes):
            _one(cycles, Plan.drawn(f"{asked.seed}/{number}", is_apart=number % 2 == 1), mutant)
            if mutant and cycles.tally.violations:
                break
    print(json.dumps(asdict(cycles.tally)))
    return 1 if cycles.tally.violations and mutant is None else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.store.power_main")
    parser.add_argument("--seed", default="power")
    parser.add_argument("--cycles", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--mutant", choices=[item.value for item in Mutant])
    return parser


def _numbers(cycles: int | None, minutes: float | None) -> Iterator[int]:
    """The numbers of the cycles, until there were enough of them or the time is over."""
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    number = 0
    while (cycles is None or number < cycles) and (end is None or time.monotonic() < end):
        yield number
        number += 1


def _one(cycles: PowerCycles, plan: Plan, mutant: Mutant | None) -> None:
    started = time.monotonic()
    if mutant is not None:
        cycles.begin_anew()
        plan = plan.at_a_promise()
    found = cycles.run(plan, mutant)
    _say(cycles.tally, plan, time.monotonic() - started, found)


def _say(tally: Tally, plan: Plan, seconds: float, found: list[str]) -> None:
    print(f"{tally.cycles:5} {seconds:6.2f} s  {plan}", file=sys.stderr, flush=True)
    for text in found:
        print(f"      VIOLATION: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
