"""What a verification found, and how it is known.

Three roots of each disk are compared: the one that the agent computed from the source's own bytes when it
took the checkpoint, the one that was committed (they are the same text: the service refuses a commit whose
tree does not give the agent's root), and the one that the service computed just now from the bytes it stores.
With a source at hand a fourth is computed here, from that source, the omitted and unreadable ranges left
out.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
import yaml

from app.cli.exits import CommandFailed, Exit
from app.cli.output import Format, harmless, size
from app.contract.resources.checkpoint import Checkpoint, CheckpointDisk, DiskVerdict, VerifyResult
from app.store.volume import volume_root


@dataclass(frozen=True, slots=True)
class ReadHere:
    """The root of a source that this computer read; `masked_bytes` were left out on both sides."""

    disk_id: str
    path: str
    root: str
    masked_bytes: int
    agrees: bool


def read_here(checkpoint: Checkpoint, disk: CheckpointDisk, source: Path) -> ReadHere:
    """Read a source of this computer and compare it with a disk of the checkpoint. Raises VolumeError."""
    masked = [(each.offset, each.length) for each in (*disk.omitted, *disk.unreadable)]
    typer.echo(f"reading {source} to compare it with checkpoint {checkpoint.number}", err=True)
    root = volume_root(source, disk.size_bytes, disk.chunk_size, masked).hex()
    return ReadHere(
        disk.disk_id, str(source), root, sum(length for _, length in masked), agrees=root == disk.root
    )


def show(result: VerifyResult, checkpoint: Checkpoint, here: ReadHere | None, form: Format) -> None:
    """Print what was found; raises CommandFailed for a format that it has no shape in."""
    if form in (Format.TABLE, Format.WIDE):
        for verdict in result.disks:
            _explain(verdict, checkpoint, here)
        return
    if form not in (Format.JSON, Format.YAML):
        raise CommandFailed(f"a verification cannot be shown as {form}", remedy="-o json", code=Exit.USAGE)
    value = result.model_dump(mode="json", by_alias=True)
    value["source"] = None if here is None else asdict(here)
    text = json.dumps(value, indent=2) if form is Format.JSON else yaml.safe_dump(value, sort_keys=False)
    typer.echo(text.rstrip("\n"))


def _explain(verdict: DiskVerdict, checkpoint: Checkpoint, here: ReadHere | None) -> None:
    taken = f"{verdict.source_time:%Y-%m-%d %H:%M:%SZ}, {verdict.label}"
    typer.echo(f"{harmless(verdict.path)} ({size(verdict.size_bytes)}), checkpoint {checkpoint.number}")
    typer.echo(f"  source      {verdict.checkpoint_root}  computed by the agent from the disk ({taken})")
    typer.echo(f"  checkpoint  {verdict.checkpoint_root}  recomputed by the service at commit, and committed")
    typer.echo(
        f"  stored      {verdict.stored_root or _missing(verdict):<64}  recomputed now from the stored bytes"
    )
    if here is not None and here.disk_id == verdict.disk_id:
        left_out = f", {size(here.masked_bytes)} omitted or unreadable left out" if here.masked_bytes else ""
        typer.echo(f"  here        {here.root}  computed now from {here.path}{left_out}")
        if not here.agrees:
            typer.echo("  the source differs from the checkpoint: it changed since, or it is another disk")
    if verdict.bad_chunk_count:
        first = ", ".join(str(offset) for offset in verdict.bad_chunks[:5])
        typer.echo(f"  {verdict.bad_chunk_count} chunks are missing or damaged, first at byte {first}")
    typer.echo(f"  {'identical' if verdict.agrees and (here is None or here.agrees) else 'NOT IDENTICAL'}")


def _missing(verdict: DiskVerdict) -> str:
    return f"none: {verdict.bad_chunk_count} chunks are missing or damaged"
