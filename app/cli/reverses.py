"""The way back of a server on the command line: `server reverse`, and finding its checkpoints and disks."""

from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.exits import CommandFailed, Exit
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.cli.servers import VIEW as SERVERS
from app.cli.servers import ServerRef
from app.client import cutovers
from app.client.transport import Client
from app.contract.resources.server import Reverse, ReverseDisk

VIEW: View[ReverseDisk] = View(
    (
        Column("DISK", lambda disk: disk.path),
        Column("IS NOW", lambda disk: disk.reverse_path),
        Column("DOUBT", lambda disk: disk.doubt),
        Column("ID", lambda disk: disk.disk_id, wide=True),
        Column("ID NOW", lambda disk: disk.reverse_disk_id, wide=True),
    ),
    name=lambda disk: disk.disk_id,
)

FromReverse = Annotated[
    bool, typer.Option("--reverse", help="What its launched machine replicates back, instead.")
]


def reverse(
    context: typer.Context,
    server: ServerRef,
    stop: Annotated[bool, typer.Option("--stop", help="End it; its checkpoints stay.")] = False,
    show: Annotated[bool, typer.Option("--show", help="How it stands, and which disk is which.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Let the launched machine of a server replicate back: print the token that enrols it, once."""
    if stop and show:
        raise typer.BadParameter("give --stop or --show")
    with connected(context) as client:
        if stop:
            show_one(client.send(cutovers.stop_reverse(server)), SERVERS, output)
        elif show:
            _show(client.send(cutovers.reverse_of(server)), output)
        else:
            from app.cli.tokens import show_install_token  # replicas load this module, too

            made = client.send(cutovers.reverse(server))
            show_install_token(made, Format.NAME if output is Format.TABLE else output)


def _show(found: Reverse, output: Format) -> None:
    show_list(found.disks, VIEW, output)
    it = found.replication
    state = "ended" if it.ended else it.replication_state.value
    head = it.head_checkpoint
    newest = f"checkpoint {head.number} ({head.label}) of {head.source_time}" if head else "no checkpoint"
    typer.echo(f"{it.name}: {state}, {newest}, lag {it.lag}", err=True)


def chain_of(client: Client, server: str, *, is_reverse: bool) -> str:
    """The server whose checkpoints are meant: itself, or the one that its launched machine is."""
    return client.send(cutovers.reverse_of(server)).replication.server_id if is_reverse else server


def reverse_disk(client: Client, server: str, ref: str | None) -> str | None:
    """The machine's disk that is a disk of the source, by that one's id or path; None for the only one.

    Raises CommandFailed where that is not known.
    """
    found = client.send(cutovers.reverse_of(server))
    chosen = [disk for disk in found.disks if ref is None or ref in (disk.disk_id, disk.path)]
    if len(chosen) != 1:
        known = ", ".join(disk.path for disk in found.disks)
        raise CommandFailed(f"say which disk of {server}: {known}", remedy="--disk", code=Exit.USAGE)
    (disk,) = chosen
    if disk.reverse_disk_id is None:
        raise CommandFailed(
            f"it is not clear which disk of the machine {disk.path} is: {disk.doubt}",
            remedy=f"name it: go2cloud replica export {found.replication.name} --disk …",
        )
    return disk.reverse_disk_id
