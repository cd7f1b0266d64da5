"""The n-th system call of the store fails, for n = 1, 2, 3 … until a whole run passes untouched.

Each failing run leaves the head exportable and the check clean, in the same process and in the next one, and
the session succeeds when it is repeated. Another test lets calls of the C library fail, below SQLite too:
runs are seeded, `FIU_SEED/number` names the call and the error.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from app.store.errors import StoreFull, StoreUnavailable
from tests.faults.store.failing_calls import FailingCalls, Fault
from tests.faults.store.fiu_main import Outcome
from tests.faults.store.sample_disk import three_contents
from tests.faults.store.store_ledger import Ledger
from tests.faults.store.whole_run import Template, run_with
from tests.services.processes import required_binary

NAMES = {Fault.EIO: StoreUnavailable, Fault.ENOSPC: StoreFull, Fault.SHORT_WRITE: StoreUnavailable}
FIU_SEED = "fiu"
FIU_RUNS = 30


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: what fails here fails by order, and an fsync costs nothing."""
    with tempfile.TemporaryDirectory(prefix="g2c-nth-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault))
async def test_a_run_in_which_any_one_call_fails_loses_and_harms_nothing(
    fault: Fault, memory: Path, ledger: Ledger
) -> None:
    template = await Template.make(memory)
    at = 0
    while True:
        at += 1
        run, calls = await run_with(
            template, memory / str(at), partial(FailingCalls, fault=fault, at=at), three_contents()
        )
        ledger.note(f"n-th call: {fault}", cycles=1, faults=calls.failed, violations=len(run.found))
        assert run.found == [], f"{fault} at call {at}"
        assert all(isinstance(error, NAMES[fault]) for error in run.errors), run.errors
        if not calls.failed:
            break
    assert at > 10


@pytest.mark.slow
def test_a_run_in_which_a_call_of_the_c_library_fails_loses_and_harms_nothing(ledger: Ledger) -> None:
    options = ("--seed", FIU_SEED, "--runs", str(FIU_RUNS))
    program = (sys.executable, "-m", "tests.faults.store.fiu_main", *options)
    command = (required_binary("fiu-run", "fiu-utils"), "-x", *program)
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.stdout, f"the runs ended with {done.returncode}:\n{done.stderr[-4000:]}"
    outcome = Outcome(**json.loads(done.stdout.splitlines()[-1]))
    violations = len(outcome.violations)
    ledger.note("libfiu", cycles=outcome.runs, faults=sum(outcome.struck.values()), violations=violations)
    assert outcome.violations == []
    assert outcome.runs == sum(outcome.struck.values()) == FIU_RUNS
    assert outcome.refused > FIU_RUNS // 4
    assert len(outcome.struck) > 4
