"""What can be refused about jobs, and what ends a step.

NotFound
└── JobNotFound
Conflict
├── JobStands             the subject has a job already that stands
├── JobSuperseded         the subject had a later job
└── JobNotAllowed         the state of the job forbids it
Go2CloudError
├── JobKindUnknown        this program has no such kind
└── StepFailed            raised by a step that no repetition will help

Exception
├── StepCancelled         raised inside a step by `Context.check_cancelled`
├── StepParked            raised inside a step by `Context.wait_for_children`, `wait_until_fewer`
└── Fenced                another worker has the job, or nobody may have it any more
"""

from app.kit.errors import Conflict, Go2CloudError, NotFound


class JobNotFound(NotFound):
    """No job has this id in the projects of the caller."""

    code = "JOB_NOT_FOUND"


class JobStands(Conflict):
    """The subject has a job that is not over."""

    code = "JOB_STANDS"


class JobSuperseded(Conflict):
    """The subject had a later job, which this one must not disturb."""

    code = "JOB_SUPERSEDED"


class JobNotAllowed(Conflict):
    """The present state of the job forbids the operation."""

    code = "JOB_NOT_ALLOWED"


class JobKindUnknown(Go2CloudError):
    """This program has no such kind of job."""

    code = "JOB_KIND_UNKNOWN"


class StepFailed(Go2CloudError):
    """The step cannot do its work, and would not the next time: it is not repeated."""

    code = "STEP_FAILED"
    title = "Step failed"


class StepCancelled(Exception):
    """The step is to stop: its job is cancelled, its time is over, or its process stops."""


class StepParked(Exception):
    """The step waits for jobs of its own and gives its worker back until few enough of them stand."""

    def __init__(self, may_stand: int = 0) -> None:
        """It goes on when at most `may_stand` of the job's children stand."""
        super().__init__(may_stand)
        self.may_stand = may_stand


class Fenced(Exception):
    """The lease is lost: whatever is written under it is refused."""
