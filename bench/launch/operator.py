"""What the operator of the bench does at the REST API: orders jobs and waits for their good end."""

import time
from datetime import datetime
from typing import Final

from app.client import jobs
from app.client.transport import Client
from app.contract.resources.job import Job
from app.contract.words import WorkState
from bench.live.replica import LOOK_SECONDS
from bench.processes import ProcessFailed

_PATIENCE_SECONDS: Final = 600.0


def done(client: Client, job: Job) -> Job:
    """The job once it succeeded. Raises ProcessFailed."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while job.state in (WorkState.PENDING, WorkState.RUNNING) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        job = client.send(jobs.get(job.id))
    if job.state is not WorkState.SUCCEEDED:
        raise ProcessFailed(f"the job {job.kind} is {job.state} at {job.step}: {job.code}, {job.detail}")
    return job


def step_seconds(job: Job) -> dict[str, float]:
    """How long each step of a job took."""
    return {step.name: seconds(step.started_at, step.finished_at) for step in job.steps}


def seconds(start: datetime | None, end: datetime | None) -> float:
    """Between two moments. Raises ProcessFailed where one of them is not known."""
    if start is None or end is None:
        raise ProcessFailed("the service does not say when something began or ended")
    return (end - start).total_seconds()
