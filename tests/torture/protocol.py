"""The protocol core at length: `python -m tests.torture.protocol`.

    --minutes M         explore seeds for so long (from --start on); every twentieth also on the real services
    --seed N            run one seed; a failing one is shrunk and its schedule printed
    --mutant NAME       with a rule broken on purpose (see tests/faults/protocol/mutants.py)
    --replay            with --seed: also replay it on the real services

Exit status 1 when an invariant is broken or the services do something else than the model.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.protocol.conforming import Drift, conform
from tests.faults.protocol.explore import FAULT_STEPS, Outcome, replay, run, shortest
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.real_service import make_template
from tests.faults.protocol.report import Report

BEYOND_THE_TESTS = 10_000
REPLAY_EVERY = 20


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.protocol", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--minutes", type=float)
    what.add_argument("--seed", type=int)
    parser.add_argument("--start", type=int, default=BEYOND_THE_TESTS)
    parser.add_argument("--mutant", choices=[mutant.name for mutant in Mutant])
    parser.add_argument("--replay", action="store_true")
    options = parser.parse_args()
    mutant = Mutant[options.mutant] if options.mutant else None
    if options.seed is not None:
        return _one(options.seed, mutant, replays=options.replay)
    return asyncio.run(_many(options.minutes, options.start, mutant))


def _one(seed: int, mutant: Mutant | None, *, replays: bool) -> int:
    outcome = run(seed, mutant)
    _print(outcome)
    if outcome.violation:
        _print_shortest(outcome, mutant)
        return 1
    if replays:
        asyncio.run(_replay_one(seed))
    return 0


async def _replay_one(seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compared = await conform(seed, FAULT_STEPS, await make_template(folder), folder)
    print(f"real services: {compared} answers the same")


def _print(outcome: Outcome) -> None:
    report = Report()
    report.add(outcome)
    print(*report.lines(), sep="\n")


def _print_shortest(outcome: Outcome, mutant: Mutant | None) -> None:
    schedule = shortest(outcome, mutant)
    print(f"the shortest schedule found, {len(schedule)} actions" + " and healing" * outcome.in_healing)
    replay(outcome.seed, schedule, mutant, heals=outcome.in_healing, told=lambda what: print(f"  {what}"))


async def _many(minutes: float, start: int, mutant: Mutant | None) -> int:
    report, until, seed = Report(), time.monotonic() + minutes * 60, start
    with tempfile.TemporaryDirectory() as name:
        template = await make_template(Path(name))
        while time.monotonic() < until:
            outcome = run(seed, mutant)
            report.add(outcome)
            if outcome.violation:
                _print_shortest(outcome, mutant)
                break
            if seed % REPLAY_EVERY == 0 and mutant is None:
                await _replay(seed, template, report)
            seed += 1
    print(*report.lines(), f"seeds {start} to {seed}", sep="\n")
    return 1 if report.violations else 0


async def _replay(seed: int, template: Path, report: Report) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            report.add_replay(await conform(seed, FAULT_STEPS, template, Path(name)))
        except Drift as drift:
            report.violations.append(str(drift))


if __name__ == "__main__":
    sys.exit(main())
