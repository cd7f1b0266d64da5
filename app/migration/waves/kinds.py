"""The kinds of jobs of runs: for each operation one of waves and one of applications."""

from app.contract.words import Place
from app.migration.services import Services
from app.migration.waves.operations import OPERATIONS
from app.migration.waves.runs import Operations, kind_of
from app.migration.waves.steps import RunSteps, ended
from app.work.kinds import JobKind, Step


def wave_kinds(services: Services, operations: Operations = OPERATIONS) -> tuple[JobKind, ...]:
    """The kinds, whose steps work with these services.

    What servers did stays when a run fails, or is cancelled: their own jobs undo what they have to.
    """
    steps = RunSteps(services, operations)
    return tuple(
        JobKind(kind_of(noun, operation), (Step("servers", Place.CONTROL, steps.lead),), ended)
        for noun in ("wave", "application")
        for operation in operations.values()
    )
