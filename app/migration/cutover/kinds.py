"""The kinds of jobs of cutovers: what runs where, for how long, and what undoes it.

    server.cutover         choose verify prepare precopy stop cut apply convert keep |
                           launch check prove outcome
    server.revert-cutover  | begin terminate release outcome
    server.finalize        require stop-replication | outcome

The bar stands before the step that is final. Up to it a failure, or a cancellation, undoes everything: the
source has its services back, and the server is what it was before. After it, a cutover stays as it is until
an operator retries or reverts it, and the other two are only led to their end.
"""

from datetime import timedelta
from typing import Final

from app.contract.words import Place
from app.migration.cutover.finalizing import FinalizeSteps
from app.migration.cutover.reverting import RevertSteps
from app.migration.cutover.steps import APPLY, CHOOSE, CUT, PRECOPY, CutoverSteps
from app.migration.services import Services
from app.work.kinds import JobKind, OnFailure, Step

SERVER_CUTOVER: Final = "server.cutover"
SERVER_REVERT: Final = "server.revert-cutover"
SERVER_FINALIZE: Final = "server.finalize"

_DAY, _HOURS = timedelta(days=1), timedelta(hours=2)
_UNDO = OnFailure.UNDO


def cutover_kinds(services: Services) -> tuple[JobKind, ...]:
    """The kinds, whose steps work with these services."""
    return _cutover(services), _revert(services), _finalize(services)


def _cutover(services: Services) -> JobKind:
    steps = CutoverSteps(services)
    control, volumes = Place.CONTROL, Place.VOLUMES
    return JobKind(
        SERVER_CUTOVER,
        (
            Step(CHOOSE, control, steps.choose, steps.unchoose, on_failure=_UNDO),
            Step("verify", control, steps.verify, timeout=_DAY, on_failure=_UNDO, weight=5),
            Step("prepare", volumes, steps.prepare, on_failure=_UNDO),
            Step(PRECOPY, volumes, steps.precopy, steps.drop_base, timeout=_DAY, on_failure=_UNDO, weight=20),
            Step("stop", control, steps.stop, steps.release, timeout=_HOURS, on_failure=_UNDO),
            Step(CUT, control, steps.cut, timeout=_HOURS, on_failure=_UNDO, weight=2),
            Step(APPLY, volumes, steps.apply, steps.drop_final, timeout=_DAY, on_failure=_UNDO, weight=5),
            Step("convert", volumes, steps.convert, steps.unconvert, timeout=_HOURS, on_failure=_UNDO),
            Step("keep", control, steps.keep, on_failure=_UNDO),
            Step("launch", volumes, steps.launch, is_final=True),
            Step("check", volumes, steps.check, timeout=_HOURS, weight=5),
            Step("prove", volumes, steps.prove, timeout=_DAY, weight=5),
            Step("outcome", control, steps.outcome),
        ),
    )


def _revert(services: Services) -> JobKind:
    steps = RevertSteps(services)
    return JobKind(
        SERVER_REVERT,
        (
            Step("begin", Place.CONTROL, steps.begin, is_final=True),
            Step("terminate", Place.VOLUMES, steps.terminate),
            Step("release", Place.CONTROL, steps.release),
            Step("outcome", Place.CONTROL, steps.outcome),
        ),
    )


def _finalize(services: Services) -> JobKind:
    steps = FinalizeSteps(services)
    return JobKind(
        SERVER_FINALIZE,
        (
            Step("require", Place.CONTROL, steps.require, on_failure=_UNDO),
            Step("stop-replication", Place.CONTROL, steps.stop, steps.go_on, on_failure=_UNDO),
            Step("outcome", Place.CONTROL, steps.outcome, is_final=True),
        ),
    )
