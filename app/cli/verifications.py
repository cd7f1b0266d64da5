"""`go2cloud server verify`: is the replica what runs on the source now?"""

import time
from typing import Annotated, Final

import typer

from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.output import Column, Format, Out, View, harmless, show_one, size
from app.cli.progress import bytes_bar
from app.cli.replicas import verify_ as verify_stored
from app.cli.servers import ServerRef
from app.client import servers, verifications
from app.client.transport import Client
from app.contract.resources.verification import Verification, VerifiedDisk
from app.contract.words import Verdict, WorkState

LOOK_SECONDS: Final = 1.0
SHOWN_RANGES: Final = 5
_STANDING: Final = (WorkState.PENDING, WorkState.RUNNING)

VIEW: View[Verification] = View(
    (
        Column("ID", lambda verification: verification.id),
        Column("LEVEL", lambda verification: verification.level),
        Column("STATE", lambda verification: verification.state),
        Column("VERDICT", lambda verification: verification.verdict),
        Column("CHECKPOINT", lambda verification: verification.checkpoint_id),
        Column("REQUESTED", lambda verification: verification.requested_at),
        Column("FINISHED", lambda verification: verification.finished_at),
        Column("DETAIL", lambda verification: verification.detail),
    ),
    name=lambda verification: verification.id,
)


def verify(
    context: typer.Context,
    server: ServerRef,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only order it.")] = False,
    stored: Annotated[
        bool, typer.Option("--stored", help="Read what is stored instead, as `replica verify` does.")
    ] = False,
    output: Out = Format.TABLE,
) -> None:
    """Let the running agent compare its whole disks with the replica; exit 1 when they differ."""
    if stored:
        verify_stored(context, server, checkpoint=servers.LATEST, against=None, disk=None, output=output)
        return
    with connected(context) as client:
        ordered = client.send(verifications.order(server))
        result = ordered if no_wait else _awaited(client, ordered)
    _show(result, output)
    if result.state is WorkState.FAILED:
        raise CommandFailed(f"the replica of {server} is not proved to be its source; see above")


def _awaited(client: Client, ordered: Verification) -> Verification:
    """Look every second until there is a result."""
    typer.echo(f"{ordered.id}: waiting for the agent; it goes on when this command is interrupted", err=True)
    with bytes_bar("comparing the source with its replica") as progress:
        while True:
            now = client.send(verifications.get(ordered.server_id, ordered.id))
            progress(now.done_bytes, now.total_bytes)
            if now.state not in _STANDING:
                return now
            time.sleep(LOOK_SECONDS)


def _show(verification: Verification, output: Format) -> None:
    show_one(verification, VIEW, output)
    if output in (Format.TABLE, Format.WIDE):
        for disk in verification.disks:
            _explain(disk)


def _explain(disk: VerifiedDisk) -> None:
    typer.echo(
        f"{harmless(disk.key)} ({size(disk.size_bytes)}), {disk.seconds:.1f} s: {_SENTENCES[disk.verdict]}"
    )
    typer.echo(
        f"  read {size(disk.read_bytes)}, compared {size(disk.compared_bytes)}, "
        f"free {size(disk.omitted_bytes)}, written since {size(disk.excused_bytes)}"
    )
    for name, count in (
        ("could not be read", disk.unreadable_bytes),
        ("cannot be read in the store", disk.lost_bytes),
        ("differ, and may have been written", disk.unproved_bytes),
        ("differ, and were not written", disk.unexplained_bytes),
    ):
        if count:
            typer.echo(f"  {size(count)} {name}")
    for each in disk.unexplained[:SHOWN_RANGES]:
        typer.echo(f"    {each.length} bytes from {each.offset}")
    if disk.note:
        typer.echo(f"  {harmless(disk.note)}")


_SENTENCES: Final = {
    Verdict.SAME: "the replica is the source",
    Verdict.UNPROVED: "not proved",
    Verdict.DIFFERS: "THE REPLICA DIFFERS",
}
