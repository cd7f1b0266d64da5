"""Faults of processes, links and databases at length, from a seed.

    python -m tests.torture.process --minutes N --seed S [--only kills|moments|link|zombies|database]

Campaigns of one kind after the other, each on a fresh service, until the time is over and at least one of
each kind is done: every named point of both programs, random moments (25 a campaign, on SQLite and on
MariaDB), plagues of the link, zombies, faults of the database. A campaign that finds a violation ends there;
what it left is kept and named. Then a closing report is printed; exit 1 when anything was violated.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.torture.process_campaigns import CAMPAIGNS
from tests.torture.process_report import Report


def main() -> int:
    """Run campaigns and report."""
    options = _parser().parse_args()
    report = Report(options.seed)
    rng = random.Random(options.seed)
    wanted = [options.only] if options.only else list(CAMPAIGNS)
    deadline = time.monotonic() + 60 * options.minutes
    for number, name in enumerate(itertools.cycle(wanted)):
        if number >= len(wanted) and time.monotonic() >= deadline:
            break
        _campaign(name, rng.randrange(1 << 32), report, deadline)
    print(report, flush=True)
    return 1 if report.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.process")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; default: 30")
    parser.add_argument("--seed", type=int, default=1, help="where all randomness comes from; default: 1")
    parser.add_argument("--only", choices=list(CAMPAIGNS), help="campaigns of one kind only")
    return parser


def _campaign(name: str, seed: int, report: Report, deadline: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"g2c-torture-{name}-"))
    print(f"campaign {name}, seed {seed}", flush=True)
    try:
        CAMPAIGNS[name](folder, random.Random(seed), report, deadline)
    except Exception as error:  # noqa: BLE001 - a violation, whatever it is, is counted and shown
        traceback.print_exc()
        report.violated(f"{name}, seed {seed}, left in {folder}: {error!s:.500}")
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
