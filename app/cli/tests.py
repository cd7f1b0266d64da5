"""`go2cloud server …`, the part about tests: start a replica as a machine, see the proof, go on from there.

The commands are put under `server` by `app.cli.command`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.jobs import finish, followed, show_job
from app.cli.output import Column, Format, Out, View, harmless, show_list, show_one
from app.cli.servers import VIEW as SERVERS
from app.cli.servers import ServerRef
from app.client import tests
from app.client.transport import Client
from app.contract.resources.job import Job
from app.contract.resources.launch import ReadyMark, ServerTest, TestConversion, TestOrder
from app.contract.words import WorkState


def _passed(test: ServerTest) -> str | None:
    if test.passed is None:
        return None
    return "passed" if test.passed else "failed"


def _phases(test: ServerTest) -> str | None:
    return ", ".join(f"{each.phase} {each.after:g} s" for each in test.phases) or None


def _checks(test: ServerTest) -> str | None:
    words = {True: "ok", False: "not passed"}
    return ", ".join(f"{each.name} {words[each.passed]}" for each in test.checks) or None


def _conversion(test: ServerTest) -> str | None:
    if test.conversion is None:
        return None
    count, warned = len(test.conversion.changes), len(test.conversion.warnings)
    changes = f"{count} change{'s' if count != 1 else ''}"
    return f"{changes}, {warned} warning{'s' if warned != 1 else ''}" if warned else changes


def _forwards(test: ServerTest) -> str | None:
    return ", ".join(f"{each.guest} at 127.0.0.1:{each.host}" for each in test.forwards) or None


VIEW: View[ServerTest] = View(
    (
        Column("ID", lambda test: test.id),
        Column("STATE", lambda test: test.state.value),
        Column("RESULT", _passed),
        Column("REASON", lambda test: test.reason),
        Column("CHECKPOINT", lambda test: test.checkpoint_number),
        Column("LABEL", lambda test: test.label),
        Column("SECONDS", lambda test: test.seconds),
        Column("CONVERSION", _conversion),
        Column("PORTS", _forwards),
        Column("CREATED", lambda test: test.created_at),
        Column("PHASES", _phases, wide=True),
        Column("CHECKS", _checks, wide=True),
        Column("DETAIL", lambda test: test.detail, wide=True),
        Column("REMEDY", lambda test: test.remedy, wide=True),
        Column("NODE", lambda test: test.node, wide=True),
        Column("ACCELERATOR", lambda test: test.accelerator, wide=True),
        Column("BY", lambda test: test.requested_by, wide=True),
        Column("LAUNCHED", lambda test: test.launched_at, wide=True),
        Column("CHECKED", lambda test: test.checked_at, wide=True),
        Column("TERMINATED", lambda test: test.terminated_at, wide=True),
        Column("JOB", lambda test: test.job_id, wide=True),
    ),
    name=lambda test: test.id,
)

Watch = Annotated[bool, typer.Option("--watch", help="Follow the job to its end; exit 1 unless it succeeds.")]
At = Annotated[str, typer.Option("--test", help="Id or latest.")]


def order_test(
    context: typer.Context,
    server: ServerRef,
    checkpoint: Annotated[
        str | None, typer.Option(help="Id, number or latest; by itself the newest that is not fuzzy.")
    ] = None,
    watch: Watch = False,
    output: Out = Format.TABLE,
) -> None:
    """Start a checkpoint as an isolated machine and prove that it boots; the replica stays as it is."""
    with connected(context) as client:
        job = client.send(tests.order(server, TestOrder(checkpoint=checkpoint)))
        ended = show_or_follow(client, job, watch, output)
    if ended is not None and output in (Format.TABLE, Format.WIDE):
        typer.echo(f"the proof: go2cloud server screenshot {server} -f FILE", err=True)


def show_or_follow(client: Client, job: Job, watch: bool, output: Format) -> Job | None:
    """Show a job as it was ordered, or follow it: the job that succeeded then."""
    if not watch:
        show_job(job, output)
        typer.echo(f"follow it with: go2cloud job watch {job.id}", err=True)
        return None
    ended = followed(client, job)
    finish(ended, output)
    return ended if ended.state is WorkState.SUCCEEDED else None


def list_tests(context: typer.Context, server: ServerRef, output: Out = Format.TABLE) -> None:
    """List the tests of a server, the newest first."""
    with connected(context) as client:
        show_list(client.every(tests.pages(server)), VIEW, output)


def screenshot(
    context: typer.Context,
    server: ServerRef,
    file: Annotated[
        Path, typer.Option("--file", "-f", help="Where to write the PNG.", dir_okay=False, writable=True)
    ],
    at: At = tests.LATEST,
    thumbnail: Annotated[bool, typer.Option("--thumbnail", help="A small one.")] = False,
) -> None:
    """Write the proof of a test: the last picture of the machine's screen."""
    with connected(context) as client:
        content = client.send(tests.screenshot(server, at, thumbnail=thumbnail))
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(str(file))


def serial(context: typer.Context, server: ServerRef, at: At = tests.LATEST) -> None:
    """Print the end of what a test machine wrote to its serial line."""
    with connected(context) as client:
        content = client.send(tests.serial(server, at))
    for line in content.decode("utf-8", "replace").splitlines():
        typer.echo(harmless(line))


def conversion(context: typer.Context, server: ServerRef, at: At = tests.LATEST) -> None:
    """Print what was changed on the disks of a test so that they boot: why, and the lines."""
    with connected(context) as client:
        test = client.send(tests.get(server, at))
    if test.conversion is None:
        raise CommandFailed(f"test {test.id} has no conversion: its disks were not looked at yet")
    for line in _told(test.conversion):
        typer.echo(harmless(line))


def _told(report: TestConversion) -> Iterator[str]:
    yield f"system: {report.system or 'none was found'}, looked at for {report.seconds} s"
    for change in report.changes:
        yield f"{change.path}: {change.reason}"
        yield from (f"  {line}" for line in change.lines)
    if not report.changes:
        yield "nothing was changed"
    yield from (f"warning: {text}" for text in report.warnings)


def terminate_test(
    context: typer.Context, server: ServerRef, watch: Watch = False, output: Out = Format.TABLE
) -> None:
    """End a server's test machine and remove its volumes; the evidence stays."""
    with connected(context) as client:
        show_or_follow(client, client.send(tests.terminate(server)), watch, output)


def mark_ready(
    context: typer.Context,
    server: ServerRef,
    override: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Why, although no test proves it; goes into the audit trail."),
    ] = None,
    output: Out = Format.TABLE,
) -> None:
    """Let a tested server be ready for its cutover."""
    body = ReadyMark() if override is None else ReadyMark(override=override)
    with connected(context) as client:
        show_one(client.send(tests.mark_ready(server, body)), SERVERS, output)
