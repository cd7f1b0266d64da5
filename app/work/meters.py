"""What the job engine counts for Prometheus."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from app.kit.database import UnitOfWork
from app.kit.logging import get_logger
from app.work import states
from app.work.tables import JobRow

ENDED = Counter(
    "go2cloud_jobs_ended_total", "Jobs that came to their end, by kind and state.", ["kind", "state"]
)
STEPS = Counter(
    "go2cloud_job_step_attempts_total",
    "Attempts of steps, by outcome: done, failed, parked, interrupted, released, lost.",
    ["kind", "step", "outcome"],
)
STEP_SECONDS = Histogram(
    "go2cloud_job_step_seconds",
    "How long attempts of steps took.",
    ["kind", "step"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400),
)
RUNNING = Gauge("go2cloud_job_steps_running", "Steps that run in this process, by place.", ["place"])
WAITING = Gauge(
    "go2cloud_jobs_waiting",
    "Jobs that wait for a worker and nothing else, by place, up to 50; take the max over processes.",
    ["place"],
)
TAKEN_OVER = Counter("go2cloud_jobs_taken_over_total", "Jobs taken over from a worker that fell silent.")

_log = get_logger("go2cloud.jobs")


def begin_at_zero(kinds: Iterable[str]) -> None:
    """Show kinds that nothing has ended of yet: an increase from nothing to one is seen by no alert."""
    for kind in kinds:
        for state in states.ENDED:
            ENDED.labels(kind, state)


def count_end(uow: UnitOfWork, row: JobRow) -> None:
    """Count the end of a job, and log it, when it is committed."""
    kind, state = row.kind, row.state
    facts = {"job": row.id, "kind": kind, "server": row.server_id, "code": row.code}

    async def count() -> None:
        ENDED.labels(kind, state).inc()
        say = _log.warning if state == "FAILED" else _log.info
        say("job.ended", state=state, **facts)

    uow.afterwards.append(count)
