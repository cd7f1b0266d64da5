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


VIEW: View[Server] = View(
    (
        Column("ID", lambda server: server.id, wide=True),
        Column("NAME", lambda server: server.name),
        Column("PROJECT", lambda server: server.project_name),
        Column("LIFECYCLE", lambda server: server.lifecycle_state.value),
        Column("REPLICATION", lambda server: server.replication_state.value),
        Column("REASON", lambda server: server.replication_reason, wide=True),
        Column("LAG", lambda server: server.lag),
        Column("CHECKPOINT", _head),
        Column("SIZE", lambda server: server.totals.size_bytes, show=size),
        Column("STORED", lambda server: server.totals.stored_bytes, show=size),
        Column("HOSTNAME", lambda server: server.hostname, wide=True),
        Column("OS", lambda server: server.os, wide=True),
        Column("KERNEL", lambda server: server.kernel, wide=True),
        Column("CPUS", lambda server: server.cpu_count, wide=True),
        Column("MEMORY", lambda server: server.memory_bytes, wide=True, show=size),
        Column("FIRMWARE", lambda server: server.firmware, wide=True),
        Column("LAST SEEN", lambda server: server.last_seen_at, wide=True),
        Column("ALLOWED", lambda server: ",".join(server.allowed_operations) or None, wide=True),
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
    output: Out = Format.TABLE,
) -> None:
    """List servers."""
    wanted = ServerFilter(project, lifecycle, replication, q)
    with connected(context) as client:
        show_list(client.every(lambda cursor: servers.page(cursor, filters=wanted)), VIEW, output)


@app.command()
def show(context: typer.Context, server: ServerRef, output: Out = Format.TABLE) -> None:
    """Show one server."""
    with connected(context) as client:
        show_one(client.send(servers.get(server)), VIEW, output)


@app.command()
def sync(context: typer.Context, server: ServerRef) -> None:
    """Ask the server's running agent to bring the replica up to date now."""
    with connected(context) as client:
        found = client.send(servers.sync(server))
    typer.echo(f"{found.name} is asked to synchronise; watch: go2cloud replica list {found.name}", err=True)
