"""`go2cloud server …`, the part about replication: orders, and how it stands.

The commands are put under `server` by `app.cli.command`.
"""

import time
from datetime import timedelta
from typing import Annotated

import click
import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from app.cli.connection import connected
from app.cli.durations import duration
from app.cli.output import Cell, Column, Format, Out, View, show_list, show_one, size
from app.cli.servers import VIEW, ServerRef
from app.client import replication, servers
from app.client.transport import Client
from app.contract.resources.replication import DiskReplication, Replication
from app.contract.resources.server import ServerUpdate
from app.contract.words import ReplicationOperation

REFRESH_SECONDS = 2.0


def rate(value: Cell) -> str:
    """Bytes a second as people read them."""
    return f"{size(value)}/s"


def _sentence(replication: Replication) -> str | None:
    return replication.forecast.explanation if replication.forecast else None


def _rates(found: Replication, name: str) -> str | None:
    """A rate over 2 and over 30 minutes."""
    if found.rates is None:
        return None
    short, long = getattr(found.rates, name), getattr(found.rates, f"{name}_long")
    return f"{rate(short)}, over 30 minutes {rate(long)}"


def _cut(found: Replication) -> str | None:
    cut = found.last_cut
    if cut is None:
        return None
    frozen = f"frozen for {cut.freeze_ms} ms after {cut.rounds} rounds" if cut.freeze_ms else "not frozen"
    return f"checkpoint {cut.number}, {cut.label}, {frozen}"


def _interval_text(value: Cell) -> str:
    if isinstance(value, timedelta) and value:
        return f"{value.total_seconds():g} s"
    return "only on command"


REPLICATION: View[Replication] = View(
    (
        Column("GOAL", lambda found: found.goal.value),
        Column("STATE", lambda found: found.state.value),
        Column("REASON", lambda found: found.reason),
        Column("DETAIL", lambda found: found.detail),
        Column("SINCE", lambda found: found.since),
        Column("ACTIVITY", lambda found: found.activity),
        Column("REPORTED", lambda found: found.reported_at),
        Column("LAG", lambda found: found.lag),
        Column("BACKLOG", lambda found: found.backlog_bytes, show=size),
        Column("ETA", lambda found: found.eta),
        Column("INTERVAL", lambda found: found.checkpoint_interval, show=_interval_text),
        Column("LIMIT", lambda found: found.wire_rate, show=rate),
        Column("WRITTEN", lambda found: _rates(found, "dirty")),
        Column("SENT", lambda found: _rates(found, "wire")),
        Column("READ", lambda found: found.rates.read if found.rates else None, show=rate),
        Column("LAST CUT", _cut),
        Column("RESCAN ORDERED", lambda found: found.rescan_ordered),
        Column("ALLOWED", lambda found: ",".join(found.allowed) or None),
        Column("FORECAST", _sentence),
    ),
    name=lambda found: found.server_id,
)

DISKS: View[DiskReplication] = View(
    (
        Column("DISK", lambda disk: disk.path or disk.key),
        Column("SIZE", lambda disk: disk.size_bytes, show=size),
        Column("USED", lambda disk: disk.used_bytes, show=size),
        Column("SEEN", lambda disk: disk.seen_bytes, show=size),
        Column("SENT", lambda disk: disk.sent_bytes, show=size),
        Column("KNOWN", lambda disk: disk.known_bytes, show=size),
        Column("BACKLOG", lambda disk: disk.backlog_bytes, show=size),
        Column("UNREADABLE", lambda disk: disk.unreadable_bytes, show=size),
        Column("TRACKER", lambda disk: disk.tracker),
        Column("NOTE", lambda disk: disk.note),
    ),
    name=lambda disk: disk.key,
)


def show_replication(
    context: typer.Context,
    server: ServerRef,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Show how replication of a server stands."""
    with connected(context) as client:
        _show(client, server, output)
        try:
            while watch:
                time.sleep(REFRESH_SECONDS)
                _show(client, server, output, is_again=True)
        except KeyboardInterrupt:
            return


def _show(client: Client, server: str, output: Format, *, is_again: bool = False) -> None:
    found = client.send(replication.get(server))
    if is_again and output in (Format.TABLE, Format.WIDE):
        click.clear()
    show_one(found, REPLICATION, output)
    if found.disks and output in (Format.TABLE, Format.WIDE):
        typer.echo()
        show_list(found.disks, DISKS, output)


def pause(context: typer.Context, server: ServerRef) -> None:
    """Send nothing until resumed; the agent goes on noting what is written."""
    _order(context, server, ReplicationOperation.PAUSE)


def resume(context: typer.Context, server: ServerRef) -> None:
    """Replicate again, at once."""
    _order(context, server, ReplicationOperation.RESUME)


def stop(context: typer.Context, server: ServerRef) -> None:
    """Neither send nor note what is written: resuming begins with a rescan."""
    _order(context, server, ReplicationOperation.STOP)


def sync(context: typer.Context, server: ServerRef) -> None:
    """Ask the server's running agent to bring the replica up to date now."""
    _order(context, server, ReplicationOperation.SYNC)


def rescan(context: typer.Context, server: ServerRef) -> None:
    """Read all that is not free once more and send what differs."""
    _order(context, server, ReplicationOperation.RESCAN)


def retry(context: typer.Context, server: ServerRef) -> None:
    """Let a stalled agent try again now."""
    _order(context, server, ReplicationOperation.RETRY)


def _order(context: typer.Context, server: str, operation: ReplicationOperation) -> None:
    with connected(context) as client:
        found = client.send(replication.order(server, operation))
    typer.echo(
        f"{found.name}: {operation} is ordered; watch: go2cloud server replication {found.name}", err=True
    )


def _interval(text: str) -> timedelta | None:
    if text == "default":
        return None
    return timedelta() if text in ("0", "0s") else duration(text)


def _rate(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise typer.BadParameter(
            f"{text!r} is not a rate: write bytes a second such as 500KiB or 20MB, or none"
        ) from error


def update(
    context: typer.Context,
    server: ServerRef,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    interval: Annotated[
        str | None,
        typer.Option(help="Between checkpoints: 5s to 1w, 0 for only on command, default for the service's."),
    ] = None,
    wire_rate: Annotated[
        str | None, typer.Option("--rate", help="Bytes a second to send at most: 20MiB; none for no limit.")
    ] = None,
    output: Out = Format.TABLE,
) -> None:
    """Change name, description, checkpoint interval or rate of a server."""
    given = {"name": name, "description": description}
    changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if interval is not None:
        changes["checkpoint_interval"] = _interval(interval)
    if wire_rate is not None:
        changes["wire_rate"] = _rate(wire_rate)
    if not changes:
        raise typer.BadParameter("say what to change: --name, --description, --interval or --rate")
    body = ServerUpdate.model_validate(changes)
    with connected(context) as client:
        found = client.send(servers.get(server))
        show_one(client.send(servers.update(found.id, found.version, body)), VIEW, output)
