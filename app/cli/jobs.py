"""`go2cloud job …`"""

import time
from functools import partial
from typing import Annotated, Final

import typer

from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.output import Column, Format, Out, View, harmless, show_list, show_one
from app.client import jobs
from app.client.transport import Client
from app.contract.filters import JobFilter
from app.contract.resources.job import Job, JobEvent, JobStep
from app.contract.words import JobOperation, WorkState

LOOK_SECONDS: Final = 1.0
_STANDING: Final = (WorkState.PENDING, WorkState.RUNNING)

app = typer.Typer(no_args_is_help=True, help="Jobs: long operations and what they did.")


def _progress(job: Job) -> str:
    return f"{job.progress}%" + (f" {job.progress_text}" if job.progress_text else "")


def _reason(job: Job) -> str | None:
    """Why it failed, or what it waits for."""
    if job.waiting is not None:
        return f"waits {job.waiting.detail}"
    return job.detail


def _state(job: Job) -> str:
    return f"{job.state} (undoing)" if job.undoing and job.state in _STANDING else job.state.value


VIEW: View[Job] = View(
    (
        Column("ID", lambda job: job.id),
        Column("KIND", lambda job: job.kind),
        Column("PROJECT", lambda job: job.project_name, wide=True),
        Column("SERVER", lambda job: job.server_name),
        Column("STATE", _state),
        Column("STEP", lambda job: job.step),
        Column("PROGRESS", _progress),
        Column("REASON", _reason),
        Column("CODE", lambda job: job.code, wide=True),
        Column("REMEDY", lambda job: job.remedy, wide=True),
        Column("BY", lambda job: job.requested_by, wide=True),
        Column("PRIORITY", lambda job: job.priority, wide=True),
        Column("PARENT", lambda job: job.parent_id, wide=True),
        Column("CREATED", lambda job: job.created_at),
        Column("FINISHED", lambda job: job.finished_at),
        Column("ALLOWED", lambda job: ",".join(job.allowed_operations) or None, wide=True),
    ),
    name=lambda job: job.id,
)

STEPS: View[JobStep] = View(
    (
        Column("STEP", lambda step: step.name),
        Column("PLACE", lambda step: step.place.value),
        Column("STATE", lambda step: step.state.value),
        Column("ATTEMPTS", lambda step: step.attempts),
        Column("STARTED", lambda step: step.started_at),
        Column("FINISHED", lambda step: step.finished_at),
        Column("UNDONE", lambda step: step.undone_at),
        Column("DETAIL", lambda step: step.detail),
        Column("REMEDY", lambda step: step.remedy),
    ),
    name=lambda step: step.name,
)

JobRef = Annotated[str, typer.Argument(metavar="JOB", help="Id.")]


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[WorkState | None, typer.Option(help="Only in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    server: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    parent: Annotated[str | None, typer.Option(help="Id of the job that owns them.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """List jobs, the newest first."""
    wanted = JobFilter(project, server, state, kind, parent)
    with connected(context) as client:
        show_list(client.every(lambda cursor: jobs.page(cursor, filters=wanted)), VIEW, output)


@app.command()
def show(
    context: typer.Context,
    job: JobRef,
    events: Annotated[bool, typer.Option("--events", help="What happened in it, too.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Show one job with its steps."""
    with connected(context) as client:
        show_job(client.send(jobs.get(job)), output)
        if events:
            for event in client.every(lambda cursor: jobs.events(job, cursor)):
                typer.echo(event_line(event), err=output not in (Format.TABLE, Format.WIDE))


@app.command()
def watch(context: typer.Context, job: JobRef, output: Out = Format.TABLE) -> None:
    """Follow a job to its end; exit 1 unless it succeeds. It goes on when this command is interrupted."""
    with connected(context) as client:
        finish(followed(client, client.send(jobs.get(job))), output)


@app.command()
def cancel(context: typer.Context, job: JobRef, output: Out = Format.TABLE) -> None:
    """Stop a job and undo what it did."""
    _order(context, job, JobOperation.CANCEL, output)


@app.command()
def retry(context: typer.Context, job: JobRef, output: Out = Format.TABLE) -> None:
    """Let a failed job go on at the step that failed."""
    _order(context, job, JobOperation.RETRY, output)


def _order(context: typer.Context, job: str, operation: JobOperation, output: Format) -> None:
    with connected(context) as client:
        show_job(client.send(jobs.order(job, operation)), output)
    typer.echo(f"follow it with: go2cloud job watch {job}", err=True)


def followed(client: Client, job: Job) -> Job:
    """The job when it is over; what happens meanwhile goes to standard error."""
    seen = 0
    while True:
        for event in client.every(partial(jobs.events, job.id, after=seen)):
            typer.echo(event_line(event), err=True)
            seen = event.number
        if job.state not in _STANDING:
            return job
        time.sleep(LOOK_SECONDS)
        job = client.send(jobs.get(job.id))


def finish(job: Job, output: Format) -> None:
    """Show a job that is over. Raises CommandFailed unless it succeeded."""
    show_job(job, output)
    if job.state is not WorkState.SUCCEEDED:
        why = f": {job.detail}" if job.detail else ""
        raise CommandFailed(f"job {job.id} is {job.state}{why}", remedy=job.remedy)


def show_job(job: Job, output: Format) -> None:
    """Show a job and, for people, its steps."""
    show_one(job, VIEW, output)
    if job.steps and output in (Format.TABLE, Format.WIDE):
        typer.echo()
        show_list(job.steps, STEPS, output)


def event_line(event: JobEvent) -> str:
    """An event as a line for people."""
    level = "" if event.level == "info" else f"{event.level.upper()} "
    return f"{event.time:%H:%M:%SZ} {level}{harmless(event.text)}"
