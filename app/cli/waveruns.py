"""`go2cloud wave …` and `go2cloud application …`, the part that is the same: what is done to all servers.

`put_under` gives the commands to a noun.
"""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.jobs import followed, show_job
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.client import waves
from app.client.transport import Client
from app.client.waves import Noun
from app.contract.resources.cutover import CutoverOrder
from app.contract.resources.job import Job
from app.contract.resources.launch import ReadyMark
from app.contract.resources.wave import MarkedServer, PlannedServer, Run, RunServer
from app.contract.wavewords import AbortMode, WaveOperation
from app.contract.words import WorkState


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _counts(run: Run) -> str | None:
    return ", ".join(f"{each.servers} {each.state}" for each in run.counts) or None


def _progress(server: RunServer) -> str | None:
    return f"{server.progress}%" if server.job_id else None


RUNS: View[Run] = View(
    (
        Column("JOB", lambda run: run.job_id),
        Column("OPERATION", lambda run: run.operation.value),
        Column("WAVE", lambda run: run.wave.name if run.wave else None, wide=True),
        Column("APPLICATION", lambda run: run.application.name if run.application else None),
        Column("STATE", lambda run: run.state.value),
        Column("SERVERS", _counts),
        Column("ATTEMPT", lambda run: run.attempt),
        Column("ABORT", lambda run: run.abort, wide=True),
        Column("AT ONCE", lambda run: run.servers_at_once, wide=True),
        Column("STOP AFTER", lambda run: run.stop_after_failures, wide=True),
        Column("BY", lambda run: run.requested_by, wide=True),
        Column("STARTED", lambda run: run.started_at),
        Column("TOOK", lambda run: _duration(run.seconds)),
        Column("REASON", lambda run: run.detail, wide=True),
        Column("REMEDY", lambda run: run.remedy, wide=True),
    ),
    name=lambda run: run.job_id,
)

SERVERS: View[RunServer] = View(
    (
        Column("#", lambda server: server.position),
        Column("APPLICATION", lambda server: server.application.name),
        Column("GROUP", lambda server: server.group),
        Column("SERVER", lambda server: server.server.name),
        Column("LIFECYCLE", lambda server: server.lifecycle_state.value),
        Column("STATE", lambda server: server.state.value),
        Column("STEP", lambda server: server.step),
        Column("PROGRESS", _progress),
        Column("TOOK", lambda server: _duration(server.seconds)),
        Column("CODE", lambda server: server.code),
        Column("REASON", lambda server: server.detail),
        Column("REMEDY", lambda server: server.remedy, wide=True),
        Column("ATTEMPT", lambda server: server.attempt, wide=True),
        Column("JOB", lambda server: server.job_id, wide=True),
    ),
    name=lambda server: server.server.name,
)

PLANNED: View[PlannedServer] = View(
    (
        Column("#", lambda server: server.position),
        Column("APPLICATION", lambda server: server.application.name),
        Column("GROUP", lambda server: server.group),
        Column("SERVER", lambda server: server.server.name),
        Column("LIFECYCLE", lambda server: server.lifecycle_state.value),
        Column("AFTER", lambda server: ", ".join(server.after) or None),
        Column("WOULD BE", lambda server: server.state.value),
        Column("CODE", lambda server: server.code),
        Column("REASON", lambda server: server.detail),
        Column("REMEDY", lambda server: server.remedy, wide=True),
    ),
    name=lambda server: server.server.name,
)

MARKED: View[MarkedServer] = View(
    (
        Column("SERVER", lambda mark: mark.server.name),
        Column("MARKED", lambda mark: mark.marked),
        Column("CODE", lambda mark: mark.code),
        Column("REASON", lambda mark: mark.detail),
        Column("REMEDY", lambda mark: mark.remedy, wide=True),
    ),
    name=lambda mark: mark.server.name,
)

Ref = Annotated[str, typer.Argument(metavar="NAME", help="Id or name.")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Follow the run to its end; exit 1 unless all servers are done.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the order, and who would be refused and why; change nothing.")
]
AtJob = Annotated[str, typer.Option("--job", help="Id of the run's job, or latest.")]


def show_run(run: Run, output: Format) -> None:
    """Show a run with its servers; for programs, the run as it is."""
    show_one(run, RUNS, output)
    if output in (Format.TABLE, Format.WIDE):
        typer.echo()
        show_list(run.servers, SERVERS, output)


def show_plan(client: Client, noun: Noun, ref: str, operation: WaveOperation, output: Format) -> None:
    """Show what an operation would do."""
    show_list(client.send(waves.plan(noun, ref, operation)).servers, PLANNED, output)


def put_under(app: typer.Typer, noun: Noun) -> None:
    """Give the commands to a noun."""
    _put_orders(app, noun)
    _put_cutover(app, noun)
    _put_mark_ready(app, noun)
    _put_looks(app, noun)


def _put_orders(app: typer.Typer, noun: Noun) -> None:
    _put_order(app, noun, WaveOperation.TEST, "Test all servers in their order.")
    text = "End the test machines of all servers; the evidence stays."
    _put_order(app, noun, WaveOperation.TERMINATE_TEST, text)
    text = "End the replication of all servers that were cut over. There is no way back after it."
    _put_asked(app, noun, WaveOperation.FINALIZE, text, "End the replication of all servers of {} for good?")
    text = "Take all servers one stage back, the last in their order first."
    _put_asked(app, noun, WaveOperation.REVERT, text, "Take all servers of {} one stage back?")


def _put_order(app: typer.Typer, noun: Noun, operation: WaveOperation, text: str) -> None:
    def order(
        context: typer.Context,
        name: Ref,
        watch: Watch = False,
        dry_run: DryRun = False,
        output: Out = Format.TABLE,
    ) -> None:
        _order(context, noun, name, operation, watch, dry_run, output)

    words = {WaveOperation.TERMINATE_TEST: "terminate-test"}
    app.command(words.get(operation, operation.value), help=text)(order)


def _put_asked(app: typer.Typer, noun: Noun, operation: WaveOperation, text: str, question: str) -> None:
    def order(
        context: typer.Context,
        name: Ref,
        yes: Yes = False,
        watch: Watch = False,
        dry_run: DryRun = False,
        output: Out = Format.TABLE,
    ) -> None:
        sure(question.format(name), yes or dry_run)
        _order(context, noun, name, operation, watch, dry_run, output)

    app.command(operation.value, help=text)(order)


def _order(
    context: typer.Context,
    noun: Noun,
    name: str,
    operation: WaveOperation,
    watch: bool,
    dry_run: bool,
    output: Format,
    cutover: CutoverOrder | None = None,
) -> None:
    """Order a run, and follow it if that is wanted; or show what it would do."""
    with connected(context) as client:
        if dry_run:
            show_plan(client, noun, name, operation, output)
        else:
            job = client.send(waves.order(noun, name, operation, cutover))
            _show(client, noun, name, job, watch, output)


def _put_cutover(app: typer.Typer, noun: Noun) -> None:
    @app.command()
    def cutover(
        context: typer.Context,
        name: Ref,
        target: Annotated[str | None, typer.Option(help="Of all servers; id or name.")] = None,
        allow_active_source: Annotated[
            bool, typer.Option("--allow-active-source", help="Although nothing stops a source's services.")
        ] = False,
        override: Annotated[
            str | None, typer.Option(metavar="REASON", help="Why, although a replica is in doubt; audited.")
        ] = None,
        yes: Yes = False,
        watch: Watch = False,
        dry_run: DryRun = False,
        output: Out = Format.TABLE,
    ) -> None:
        """Move all servers to their targets in their order, for good."""
        body = CutoverOrder(target=target, allow_active_source=allow_active_source, override=override)
        sure(f"Stop the services of all servers of {name} and launch their machines?", yes or dry_run)
        _order(context, noun, name, WaveOperation.CUTOVER, watch, dry_run, output, body)


def _show(client: Client, noun: Noun, name: str, job: Job, watch: bool, output: Format) -> None:
    """Show a run as it was ordered, or follow it to its end."""
    if not watch:
        show_job(job, output)
        typer.echo(f"follow it with: go2cloud {noun} run {name}, or go2cloud job watch {job.id}", err=True)
        return
    ended = followed(client, job)
    show_run(client.send(waves.run(noun, name, job.id)), output)
    if ended.state is not WorkState.SUCCEEDED:
        raise CommandFailed(f"run {job.id} is {ended.state}: {ended.detail or ''}", remedy=ended.remedy)


def _put_mark_ready(app: typer.Typer, noun: Noun) -> None:
    @app.command()
    def mark_ready(
        context: typer.Context,
        name: Ref,
        override: Annotated[
            str | None,
            typer.Option(
                metavar="REASON", help="Why, although no test proves it; goes into the audit trail."
            ),
        ] = None,
        dry_run: DryRun = False,
        output: Out = Format.TABLE,
    ) -> None:
        """Let all tested servers be ready for their cutover; exit 1 if one was refused."""
        body = ReadyMark() if override is None else ReadyMark(override=override)
        with connected(context) as client:
            if dry_run:
                show_plan(client, noun, name, WaveOperation.MARK_READY, output)
                return
            marks = client.send(waves.mark_ready(noun, name, body)).items
        show_list(marks, MARKED, output)
        refused = sum(not mark.marked for mark in marks)
        if refused:
            raise CommandFailed(f"{refused} of {len(marks)} servers were not marked")


def _put_looks(app: typer.Typer, noun: Noun) -> None:
    @app.command()
    def abort(
        context: typer.Context,
        name: Ref,
        cancel: Annotated[
            bool, typer.Option("--cancel", help="Cancel what runs, too; otherwise it goes on to its end.")
        ] = False,
        output: Out = Format.TABLE,
    ) -> None:
        """Let the run that stands begin no more servers; go2cloud job retry goes on with it."""
        mode = AbortMode.CANCEL if cancel else AbortMode.LET
        with connected(context) as client:
            show_run(client.send(waves.abort(noun, name, mode)), output)

    @app.command()
    def runs(context: typer.Context, name: Ref, output: Out = Format.TABLE) -> None:
        """List the runs, the newest first."""
        with connected(context) as client:
            show_list(client.every(waves.runs(noun, name)), RUNS, output)

    @app.command()
    def run(context: typer.Context, name: Ref, job: AtJob = waves.LATEST, output: Out = Format.TABLE) -> None:
        """Show a run with all its servers: how each stands, how long it took, who failed and why."""
        with connected(context) as client:
            show_run(client.send(waves.run(noun, name, job)), output)
