"""The words of waves: what can be done to one, and how each of its servers stands in a run.

Standard library only, so that pure tables can import it. A member's value is what travels in JSON.
"""

from enum import StrEnum


class WaveOperation(StrEnum):
    """What is done to all servers of a wave, or of an application.

    `markReady` is done at once; the others are runs: jobs that order a job for each server.
    """

    TEST = "test"
    TERMINATE_TEST = "terminateTest"
    MARK_READY = "markReady"
    CUTOVER = "cutover"
    FINALIZE = "finalize"
    REVERT = "revert"


class RunServerState(StrEnum):
    """How a server stands in a run.

    `WAITING`: its turn has not come. `RUNNING`: its job is not over. `SUCCEEDED`, `FAILED`, `CANCELLED`: its
    job is. `UNCHANGED`: there was nothing to do. `REFUSED`: its state forbade the job. `SKIPPED`: it was not
    begun, since a server that it comes after did not succeed, or since the run stopped before.
    """

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    UNCHANGED = "UNCHANGED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REFUSED = "REFUSED"
    SKIPPED = "SKIPPED"


class AbortMode(StrEnum):
    """What becomes of the jobs that run when a run is aborted: they go on to their end, or are cancelled."""

    LET = "let"
    CANCEL = "cancel"
