"""`go2cloud server …`"""

from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_list, show_one, size
from app.client import servers
from app.contract.filters import ServerFilter
from app.contract.resources.server import Server
from app.contract.words import LifecycleState, ReplicationState

app = typer.Typer(no_args_is_help=True, help="Source servers.")


def _head(server: Server) -> int | None:
    return server.head_checkpoint.number if server.head_checkpoint else None


def _allowed(server: Server) -> tuple[str, ...]:
    return (*server.allowed_operations, *server.replication_allowed)


VIEW: View[Server] = View(
    (
        Column("ID", lambda server: server.id, wide=True),
        Column("NAME", lambda server: server.name),
        Column("PROJECT", lambda server: server.project_name),
        Column("LIFECYCLE", lambda server: server.lifecycle_state.value),
        Column("REPLICATION", lambda server: server.replication_state.value),
        Column("REASON", lambda server: server.replication_reason),
        Column("GOAL", lambda server: server.goal.value),
        Column("LAG", lambda server: server.lag),
        Column("BACKLOG", lambda server: server.backlog_bytes, show=size),
        Column("CHECKPOINT", _head),
        Column("SIZE", lambda server: server.totals.size_bytes, show=size),
        Column("STORED", lambda server: server.totals.stored_bytes, show=size),
        Column("INTERVAL", lambda server: server.checkpoint_interval, wide=True),
        Column("RATE", lambda server: server.wire_rate, wide=True, show=size),
        Column("DEGRADED", lambda server: server.degraded, wide=True),
        Column("HOSTNAME", lambda server: server.hostname, wide=True),
        Column("OS", lambda server: server.os, wide=True),
        Column("KERNEL", lambda server: server.kernel, wide=True),
        Column("CPUS", lambda server: server.cpu_count, wide=True),
        Column("MEMORY", lambda server: server.memory_bytes, wide=True, show=size),
        Column("FIRMWARE", lambda server: server.firmware, wide=True),
        Column("REVERSE", lambda server: server.reverse.name if server.reverse else None, wide=True),
        Column("REVERSE OF", lambda server: server.reverse_of, wide=True),
        Column("LAST SEEN", lambda server: server.last_seen_at, wide=True),
        Column("ALLOWED", lambda server: ",".join(_allowed(server)) or None, wide=True),
    ),
    name=lambda server: server.name,
)

ServerRef = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name.")]


@app.command("list")
def list_(
    context: typer.Context,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    lifecycle: Annotated[LifecycleState | None, typer.Option(help="Only in this state.")] = None,
    replication: Annotated[ReplicationState | None, typer.Option(help="Only in this state.")] = None,
    q: Annotated[str | None, typer.Option(help="Part of the name or host name.")] = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that were archived, instead of the others.")
    ] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Launched machines that replicate back, instead of the servers.")
    ] = False,
    output: Out = Format.TABLE,
) -> None:
    """List servers."""
    wanted = ServerFilter(project, lifecycle, replication, q, archived or None, reverse or None)
    with connected(context) as client:
        show_list(client.every(lambda cursor: servers.page(cursor, filters=wanted)), VIEW, output)


@app.command()
def show(context: typer.Context, server: ServerRef, output: Out = Format.TABLE) -> None:
    """Show one server."""
    with connected(context) as client:
        show_one(client.send(servers.get(server)), VIEW, output)
