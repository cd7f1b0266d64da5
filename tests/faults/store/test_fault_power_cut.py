"""A power cut on the real store and the real SQLite: what was acknowledged is there, and nothing is harmed.

Cycles are seeded: `SEED/number` names the sessions, the moment of the cut and what survives in the drive's
cache. About 0.7 s a cycle. Half of the cycles cut at a counted point of persistence and can be replayed
exactly; the others cut at a random moment.
"""

import json
import subprocess
import sys

import pytest

from tests.faults.store.power_cycles import Tally
from tests.faults.store.power_worker import Mutant
from tests.faults.store.store_ledger import Ledger
from tests.services.processes import required_binary

SEED = "power-cut"
CYCLES = 50
MOST_CYCLES_FOR_A_MUTANT = 24
PATIENCE_SECONDS = 280

pytestmark = [pytest.mark.root, pytest.mark.slow]


def run(*options: str) -> Tally:
    """Run the cycles in a mount namespace of their own."""
    for name, package in (("nbdfuse", "libnbd-bin"), ("fusermount3", "fuse3")):
        required_binary(name, package)
    program = [sys.executable, "-m", "tests.faults.store.power_main", "--seed", SEED, *options]
    command = [required_binary("unshare", "util-linux"), "--mount", "--propagation", "private", *program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.stdout, f"the cycles ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return Tally(**json.loads(done.stdout.splitlines()[-1]))


def test_no_power_cut_loses_what_was_acknowledged_or_harms_the_store(ledger: Ledger) -> None:
    tally = run("--cycles", str(CYCLES))
    ledger.note("power cuts", cycles=tally.cycles, violations=len(tally.violations))
    assert tally.violations == []
    assert tally.cycles == CYCLES
    assert tally.acknowledged > CYCLES


@pytest.mark.parametrize("mutant", list(Mutant))
def test_what_a_careless_store_or_database_leaves_out_is_noticed(mutant: Mutant, ledger: Ledger) -> None:
    tally = run("--cycles", str(MOST_CYCLES_FOR_A_MUTANT), "--mutant", mutant)
    ledger.note(f"mutant {mutant!s} caught", cycles=tally.cycles)
    assert tally.violations, f"{tally.cycles} power cuts did not show what is left out by: {mutant}"
