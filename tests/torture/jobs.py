"""The job engine at length: thousands of jobs under workers that are killed and paused and clocks that jump.

    python -m tests.torture.jobs --minutes N --seed S

Campaigns come one after the other, on SQLite and on MariaDB in turn, each with another seed. Ends with a
report; exit 1 when anything was violated. Needs the Debian packages of the tests.
"""

import argparse
import asyncio
import itertools
import logging
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from tests.services.mariadb_server import MariaDb, mariadb_server
from tests.work.campaign import Survived, chaos_holds, sqlite_in_memory

JOBS = {"sqlite": 150, "mariadb": 60}
"""In one campaign."""


@dataclass
class Report:
    """What was done and found."""

    campaigns: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    hurt: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, engine: str, survived: Survived) -> None:
        """Count a campaign in which nothing was violated."""
        self.jobs[engine] += survived.jobs
        self.hurt.update(survived.hurt)
        self.refused += survived.refused

    def __str__(self) -> str:
        """The closing lines."""
        jobs = ", ".join(f"{count} on {engine}" for engine, count in self.jobs.items())
        hurt = ", ".join(f"{count} {what}" for what, count in sorted(self.hurt.items()))
        counts = f"{self.campaigns} campaigns, jobs: {jobs or 'none'}; {hurt or 'nothing hurt'}"
        closing = f"{counts}; {self.refused} late effects refused; {len(self.violations)} violations"
        return "\n".join([*self.violations, closing])


def main() -> int:
    """Torture for the given minutes; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.jobs")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; default: 30")
    parser.add_argument("--seed", type=int, default=1, help="where all randomness comes from; default: 1")
    asked = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of each task that was killed
    report, ends = Report(), time.monotonic() + asked.minutes * 60
    with mariadb_server("--innodb-flush-log-at-trx-commit=0") as server:
        for seed in itertools.count(asked.seed):
            _campaign(report, server, seed)
            if time.monotonic() > ends:
                break
    print(report, flush=True)
    return 1 if report.violations else 0


def _campaign(report: Report, server: MariaDb, seed: int) -> None:
    engine = "sqlite" if seed % 2 else "mariadb"
    report.campaigns += 1
    try:
        report.add(engine, _on_sqlite(seed) if engine == "sqlite" else _on_mariadb(server, seed))
    except AssertionError:
        report.violations.append(f"seed {seed} on {engine}:\n{traceback.format_exc()}")


def _on_sqlite(seed: int) -> Survived:
    with sqlite_in_memory() as settings:
        return asyncio.run(chaos_holds(settings, JOBS["sqlite"], seed))


def _on_mariadb(server: MariaDb, seed: int) -> Survived:
    settings = server.create_database()
    try:
        return asyncio.run(chaos_holds(settings, JOBS["mariadb"], seed))
    finally:
        server.drop_database(settings)


if __name__ == "__main__":
    sys.exit(main())
