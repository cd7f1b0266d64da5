"""All fault injection at length: `python -m tests.torture --minutes N --seed S`, or `make torture MINUTES=N`.

The time is shared out evenly: the protocol model, the store, the processes with their links and databases,
hosts that are followed while they write, the job engine.
Each prints its closing report (cycles, faults, violations); the exit status is 1 when anything was violated.
The fuzzing of parsers by coverage is apart: `make fuzz MINUTES=N`.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A torture run of its own, `seed_option` is what it calls a start of its randomness."""

    name: str
    seed_option: str

    def run(self, minutes: float, seed: int) -> bool:
        """Run it for so long; whether nothing was violated."""
        print(f"== {self.name}: {minutes:g} minutes, seed {seed}", flush=True)
        options = ("--minutes", str(minutes), self.seed_option, str(seed))
        done = subprocess.run([sys.executable, "-m", f"tests.torture.{self.name}", *options])
        return done.returncode == 0


PARTS = (
    Part("protocol", "--start"),
    Part("store", "--seed"),
    Part("process", "--seed"),
    Part("following", "--seed"),
    Part("jobs", "--seed"),
)


def main() -> int:
    """Run the parts one after the other; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long in all; default: 30")
    parser.add_argument("--seed", type=int, default=10_000, help="where all randomness comes from")
    asked = parser.parse_args()
    share = asked.minutes / len(PARTS)
    outcomes = {part.name: part.run(share, asked.seed) for part in PARTS}
    for name, is_good in outcomes.items():
        print(f"{name:10} {'no violation' if is_good else 'VIOLATED: see above'}")
    return 0 if all(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
