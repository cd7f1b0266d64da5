"""`go2cloud server …`, the part about the last way: cutover, finalize, revert, disconnect, archive.

The commands are put under `server` by `app.cli.command`.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.cli.servers import VIEW as SERVERS
from app.cli.servers import ServerRef
from app.cli.tests import Watch, show_or_follow
from app.client import cutovers, servers
from app.client.call import Call
from app.client.transport import Client
from app.contract.resources.cutover import Cutover, CutoverOrder, OperationPlan, PlanFinding, RevertOrder
from app.contract.resources.job import Job
from app.contract.words import LifecycleState, ServerOperation


def _seconds(cutover: Cutover) -> str | None:
    ended = [each for each in cutover.phases if each.finished_at is not None]
    spans = ((each.phase, each.finished_at - each.started_at) for each in ended if each.finished_at)
    return ", ".join(f"{phase} {span.total_seconds():.1f} s" for phase, span in spans) or None


def _checks(cutover: Cutover) -> str | None:
    words = {True: "ok", False: "not passed"}
    return ", ".join(f"{each.name} {words[each.passed]}" for each in cutover.checks) or None


def _forwards(cutover: Cutover) -> str | None:
    return ", ".join(f"{each.guest} at 127.0.0.1:{each.host}" for each in cutover.forwards) or None


def _ledger(cutover: Cutover) -> str | None:
    return "; ".join(f"{each.kind}: {each.what}" for each in cutover.ledger) or None


VIEW: View[Cutover] = View(
    (
        Column("ID", lambda cutover: cutover.id),
        Column("STATE", lambda cutover: cutover.state.value),
        Column("TARGET", lambda cutover: cutover.target),
        Column("CHECKPOINT", lambda cutover: cutover.checkpoint_number),
        Column("DOWNTIME", lambda cutover: cutover.downtime_seconds),
        Column("SOURCE ACTIVE", lambda cutover: cutover.source_active),
        Column("REASON", lambda cutover: cutover.reason),
        Column("PORTS", _forwards),
        Column("CREATED", lambda cutover: cutover.created_at),
        Column("PHASES", _seconds, wide=True),
        Column("CHECKS", _checks, wide=True),
        Column("DETAIL", lambda cutover: cutover.detail, wide=True),
        Column("PASSED OVER", lambda cutover: ",".join(cutover.passed_over) or None, wide=True),
        Column("OVERRIDE", lambda cutover: cutover.override, wide=True),
        Column("SOURCE GONE", lambda cutover: cutover.source_gone, wide=True),
        Column("NODE", lambda cutover: cutover.node, wide=True),
        Column("LAUNCHED", lambda cutover: cutover.launched_at, wide=True),
        Column("ENDED", lambda cutover: cutover.ended_at, wide=True),
        Column("BY", lambda cutover: cutover.requested_by, wide=True),
        Column("LEDGER", _ledger, wide=True),
        Column("JOB", lambda cutover: cutover.job_id, wide=True),
    ),
    name=lambda cutover: cutover.id,
)

FINDINGS: View[PlanFinding] = View(
    (
        Column("SEVERITY", lambda finding: finding.severity.value),
        Column("CODE", lambda finding: finding.code),
        Column("TEXT", lambda finding: finding.text),
        Column("REMEDY", lambda finding: finding.remedy),
        Column("OVERRIDE HELPS", lambda finding: finding.can_be_overridden, wide=True),
    ),
    name=lambda finding: finding.code,
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and what refuses it.")]


def cutover(
    context: typer.Context,
    server: ServerRef,
    target: Annotated[str | None, typer.Option(help="Id or name; by itself the node's machines.")] = None,
    allow_active_source: Annotated[
        bool, typer.Option("--allow-active-source", help="Although nothing stops the source's services.")
    ] = False,
    override: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Why, although a doubt stands; goes into the audit trail."),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    output: Out = Format.TABLE,
) -> None:
    """Move a server to its target: its services stop here and run there. `revert` leads back."""
    order = CutoverOrder(target=target, allow_active_source=allow_active_source, override=override)
    with connected(context) as client:
        if dry_run:
            _show_plan(client, server, ServerOperation.CUTOVER, order, output)
            return
        sure(f"Stop the services of {server} and launch its machine?", yes)
        show_or_follow(client, client.send(cutovers.order(server, order)), watch, output)
    typer.echo(f"see it: go2cloud server cutovers {server}", err=True)


def finalize(
    context: typer.Context,
    server: ServerRef,
    yes: Yes = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    output: Out = Format.TABLE,
) -> None:
    """End the replication of a server whose cutover succeeded. There is no way back after it."""
    question = f"End the replication of {server} for good?"
    _order(
        context, server, ServerOperation.FINALIZE, cutovers.finalize, question, yes, dry_run, watch, output
    )


def revert(
    context: typer.Context,
    server: ServerRef,
    source_gone: Annotated[
        bool,
        typer.Option("--source-gone", help="The source's host is lost: do not wait for it. Needs --reason."),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why the source counts as gone; it is audited.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    output: Out = Format.TABLE,
) -> None:
    """Take a server one stage back: its machine goes, and after a cutover the source runs again."""
    if source_gone != (reason is not None):
        raise typer.BadParameter("--source-gone and --reason go together: say why the source counts as gone")
    order = RevertOrder(source_gone=source_gone, reason=reason)
    with connected(context) as client:
        is_cut_over = client.send(servers.get(server)).lifecycle_state is LifecycleState.CUTTING_OVER
    left = ", and leave its source without its services" if source_gone else ""
    question = f"Throw the launched machine of {server} away, with all that it wrote{left}?"
    sure_already = yes or not is_cut_over
    _order(
        context,
        server,
        ServerOperation.REVERT,
        lambda ref: cutovers.revert(ref, order),
        question,
        sure_already,
        dry_run,
        watch,
        output,
    )


def disconnect(
    context: typer.Context,
    server: ServerRef,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Out = Format.TABLE,
) -> None:
    """End all dealings with a source: its replication, and its agent's credential. Checkpoints stay."""
    with connected(context) as client:
        if dry_run:
            _show_plan(client, server, ServerOperation.DISCONNECT, None, output)
            return
        sure(f"End all dealings with the source of {server}?", yes)
        show_one(client.send(cutovers.disconnect(server)), SERVERS, output)


def archive(
    context: typer.Context, server: ServerRef, dry_run: DryRun = False, output: Out = Format.TABLE
) -> None:
    """Let lists leave a server out that nothing more happens to; `server list --archived` shows it."""
    with connected(context) as client:
        if dry_run:
            _show_plan(client, server, ServerOperation.ARCHIVE, None, output)
            return
        show_one(client.send(cutovers.archive(server)), SERVERS, output)


def list_cutovers(context: typer.Context, server: ServerRef, output: Out = Format.TABLE) -> None:
    """List the cutovers of a server, the newest first."""
    with connected(context) as client:
        show_list(client.every(cutovers.pages(server)), VIEW, output)


def _order(
    context: typer.Context,
    server: str,
    operation: ServerOperation,
    call: Callable[[str], Call[Job]],
    question: str,
    yes: bool,
    dry_run: bool,
    watch: bool,
    output: Format,
) -> None:
    with connected(context) as client:
        if dry_run:
            _show_plan(client, server, operation, None, output)
            return
        sure(question, yes)
        show_or_follow(client, client.send(call(server)), watch, output)


def _show_plan(
    client: Client, server: str, operation: ServerOperation, order: CutoverOrder | None, output: Format
) -> None:
    """Say what would be done. Raises CommandFailed where something refuses it."""
    plan: OperationPlan = client.send(cutovers.plan(server, operation, order))
    for number, step in enumerate(plan.steps, 1):
        typer.echo(f"{number}. {step}", err=True)
    show_list(plan.findings, FINDINGS, output)
    if not plan.possible:
        raise CommandFailed(f"{operation} of {server} would be refused now")
