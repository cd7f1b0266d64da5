"""Every broken rule is caught by the invariants, within the seeds of the normal run."""

import pytest

from tests.faults.protocol.explore import replay, run, shortest
from tests.faults.protocol.mutants import NAMED, Mutant
from tests.faults.protocol.report import REPORT, Caught
from tests.faults.protocol.test_protocol_model import SEEDS

TRIES = 150
TRIES_WITH_HEALING = 40
"""How many shorter schedules are tried: enough for a hint; the torture run takes its time."""


@pytest.mark.parametrize("mutant", Mutant, ids=lambda mutant: mutant.name.lower())
def test_a_broken_rule_is_caught(mutant: Mutant) -> None:
    found = next((outcome for seed in range(SEEDS) if (outcome := run(seed, mutant)).violation), None)
    assert found is not None, f"{SEEDS} seeds do not notice that {mutant.value}"
    schedule = shortest(found, mutant, TRIES_WITH_HEALING if found.in_healing else TRIES)
    again = replay(found.seed, schedule, mutant, heals=found.in_healing)
    assert again.violation
    REPORT.caught.append(Caught(mutant, found.seed, found.steps, again.steps, again.violation))


def test_the_mutants_of_the_design_are_all_here() -> None:
    assert len(NAMED) == 8
