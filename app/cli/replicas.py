"""`go2cloud replica …`: what is stored of a server, out again, and the proof that it is the source."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli import images, verdicts
from app.cli.connection import connected
from app.cli.exits import CommandFailed, Exit
from app.cli.output import Column, Format, Out, View, show_list, size
from app.cli.progress import bytes_bar
from app.cli.reverses import FromReverse, chain_of, reverse_disk
from app.cli.servers import ServerRef
from app.client import servers
from app.client.replicas import export_disk, verify
from app.client.transport import Client
from app.contract.resources.checkpoint import Checkpoint, CheckpointDisk, VerifyProgress, VerifyResult

app = typer.Typer(no_args_is_help=True, help="Replicas: checkpoints, export, verification.")

VIEW: View[Checkpoint] = View(
    (
        Column("ID", lambda checkpoint: checkpoint.id, wide=True),
        Column("NUMBER", lambda checkpoint: checkpoint.number),
        Column("LABEL", lambda checkpoint: checkpoint.label),
        Column("SOURCE TIME", lambda checkpoint: checkpoint.source_time),
        Column("DISKS", lambda checkpoint: len(checkpoint.disks)),
        Column("SIZE", lambda checkpoint: sum(disk.size_bytes for disk in checkpoint.disks), show=size),
        Column("READ", lambda checkpoint: checkpoint.counters.read_bytes, show=size),
        Column("WIRE", lambda checkpoint: checkpoint.counters.wire_bytes, show=size),
        Column("KNOWN", lambda checkpoint: checkpoint.counters.known_bytes, wide=True, show=size),
        Column("SENT", lambda checkpoint: checkpoint.counters.sent_bytes, wide=True, show=size),
        Column("PATCHED", lambda checkpoint: checkpoint.counters.patched_bytes, wide=True, show=size),
        Column("OMITTED", lambda checkpoint: checkpoint.counters.omitted_bytes, wide=True, show=size),
        Column("FREEZE MS", lambda checkpoint: checkpoint.freeze_ms, wide=True),
        Column("ROUNDS", lambda checkpoint: checkpoint.rounds, wide=True),
        Column("DEGRADED", lambda checkpoint: checkpoint.degraded, wide=True),
        Column("CONFIRMED", lambda checkpoint: checkpoint.confirmed, wide=True),
    ),
    name=lambda checkpoint: checkpoint.id,
)

At = Annotated[str, typer.Option("--checkpoint", help="Id, number or latest.")]


class ImageFormat(StrEnum):
    """What an export is written as."""

    RAW = "raw"
    QCOW2 = "qcow2"


@app.command("list")
def list_(context: typer.Context, server: ServerRef, output: Out = Format.TABLE) -> None:
    """List the checkpoints of a server, the newest first."""
    with connected(context) as client:
        show_list(client.every(servers.checkpoints(server)), VIEW, output)


@app.command()
def export(
    context: typer.Context,
    server: ServerRef,
    output: Annotated[Path, typer.Option(metavar="FILE|BLOCKDEVICE", help="Where to.")],
    disk: Annotated[str | None, typer.Option(help="Id, key or path; may be absent if there is one.")] = None,
    checkpoint: At = servers.LATEST,
    image: Annotated[
        ImageFormat, typer.Option("--format", help="raw, or qcow2 by qemu-img.")
    ] = ImageFormat.RAW,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    reverse: FromReverse = False,
) -> None:
    """Write a disk of a checkpoint to a file or block device, verified against its root."""
    with connected(context) as client:
        disk = reverse_disk(client, server, disk) if reverse else disk
        chain = chain_of(client, server, is_reverse=reverse)
        at = client.send(servers.checkpoint(chain, checkpoint))
        chosen = choose_disk(at, disk)
        if image is ImageFormat.QCOW2:
            root = _export_qcow2(client, at, chosen, output, force=force)
        else:
            root = _export(client, at, chosen, output, force=force)
    typer.echo(f"{output}: {chosen.path} of checkpoint {at.number} ({at.label}), root {root.hex()} verified")


@app.command("verify")
def verify_(
    context: typer.Context,
    server: ServerRef,
    checkpoint: At = servers.LATEST,
    against: Annotated[
        Path | None, typer.Option(help="The source's disk or a copy of it, read here.")
    ] = None,
    disk: Annotated[str | None, typer.Option(help="With --against: id, key or path.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """Prove that source, checkpoint and stored bytes agree, and say how that is known."""
    with connected(context) as client:
        at = client.send(servers.checkpoint(server, checkpoint))
        result = _verified(client, at)
    here = None if against is None else verdicts.read_here(at, choose_disk(at, disk), against)
    verdicts.show(result, at, here, output)
    if not result.agrees or (here is not None and not here.agrees):
        raise CommandFailed(f"the replica of {server} does not agree; see above")


def choose_disk(checkpoint: Checkpoint, ref: str | None) -> CheckpointDisk:
    """The disk of a checkpoint that an id, key or path names; the only one where nothing is said."""
    known = ", ".join(disk.path for disk in checkpoint.disks)
    if ref is None:
        if len(checkpoint.disks) == 1:
            return checkpoint.disks[0]
        raise CommandFailed(
            f"the checkpoint has several disks: {known}", remedy="say which: --disk", code=Exit.USAGE
        )
    found = [disk for disk in checkpoint.disks if ref in (disk.disk_id, disk.key, disk.path)]
    if len(found) != 1:
        raise CommandFailed(
            f"checkpoint {checkpoint.number} has no disk {ref!r}; it has {known}", code=Exit.NOT_FOUND
        )
    return found[0]


def _export(client: Client, at: Checkpoint, disk: CheckpointDisk, output: Path, *, force: bool) -> bytes:
    with bytes_bar(f"{disk.path} → {output}") as progress:
        return export_disk(client, at, disk, output, force=force, progress=progress)


def _export_qcow2(
    client: Client, at: Checkpoint, disk: CheckpointDisk, output: Path, *, force: bool
) -> bytes:
    images.require_tool()
    if output.is_block_device():
        raise CommandFailed(f"{output} is a block device: qcow2 goes into a file", code=Exit.USAGE)
    if output.exists() and not force:
        raise CommandFailed(f"{output} exists", remedy="choose another name, or overwrite it with --force")
    with tempfile.TemporaryDirectory(prefix=".go2cloud-", dir=output.absolute().parent) as folder:
        raw = Path(folder) / "disk.raw"
        root = _export(client, at, disk, raw, force=False)
        images.to_qcow2(raw, output)
    return root


def _verified(client: Client, at: Checkpoint) -> VerifyResult:
    with bytes_bar("reading what is stored") as progress:
        for event in verify(client, at.server_id, at.id):
            if isinstance(event, VerifyProgress):
                progress(event.checked_bytes, event.total_bytes)
            else:
                return event
    raise CommandFailed("verifying ended without a result")
