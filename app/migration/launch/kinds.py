"""The kinds of jobs of launching: what runs where, for how long, and what undoes it."""

from datetime import timedelta
from typing import Final

from app.contract.words import Place
from app.migration.launch.steps import CHOOSE, CONVERT, MATERIALISE, TestSteps
from app.migration.services import Services
from app.work.kinds import JobKind, OnFailure, Step

SERVER_TEST: Final = "server.test"
TERMINATE_TEST: Final = "server.terminate-test"


def launch_kinds(services: Services) -> tuple[JobKind, ...]:
    """The kinds, whose steps work with these services.

    A test that fails is undone whole, since no machine without a proof may stay: a retry is a new test.
    """
    steps, undo = TestSteps(services), OnFailure.UNDO
    day, hours = timedelta(days=1), timedelta(hours=2)
    test = JobKind(
        SERVER_TEST,
        (
            Step(CHOOSE, Place.CONTROL, steps.choose, steps.unchoose, on_failure=undo),
            Step("prepare", Place.VOLUMES, steps.prepare, on_failure=undo),
            Step(
                MATERIALISE,
                Place.VOLUMES,
                steps.materialise,
                steps.dematerialise,
                timeout=day,
                on_failure=undo,
                weight=10,
            ),
            Step(
                CONVERT,
                Place.VOLUMES,
                steps.convert,
                steps.unlaunch,
                timeout=hours,
                on_failure=undo,
                weight=3,
            ),
            Step("launch", Place.VOLUMES, steps.launch, steps.unlaunch, on_failure=undo),
            Step("check", Place.VOLUMES, steps.check, timeout=hours, on_failure=undo, weight=10),
            Step("outcome", Place.CONTROL, steps.outcome, on_failure=undo),
        ),
    )
    return test, JobKind(TERMINATE_TEST, (Step("terminate", Place.VOLUMES, steps.terminate),))
