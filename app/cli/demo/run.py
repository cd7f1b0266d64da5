"""The demo's course: each step does real work, and the first that does not hold ends it with an error."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.cli.demo.boot import boot
from app.cli.demo.compare import first_difference
from app.cli.demo.disk import DISK_BYTES, DemoDisk, Tools
from app.cli.demo.service import DemoAgent, DemoService, demo_service
from app.client import replicas, servers
from app.client.transport import Client
from app.contract.resources.checkpoint import Checkpoint, CheckpointDisk, VerifyResult
from app.contract.resources.server import Server
from app.kit.errors import Go2CloudError
from app.store.volumehash import volume_root

MB = 1_000_000


class NotProved(Go2CloudError):
    """Something that the demo claims did not hold."""

    code = "NOT_PROVED"


@dataclass(frozen=True)
class Proof:
    """What the demo found out, for its summary."""

    full: Checkpoint
    delta: Checkpoint
    server: Server
    source_root: str
    export_root: str
    fsck: str
    changed_bytes: int
    seconds: dict[str, float]


class Stopwatch:
    """Says what happens and how long it took."""

    def __init__(self, console: Console) -> None:
        """Speak through `console`."""
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """A step called `name`."""
        self._console.print(f"[bold]•[/] {text}")
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def run_demo(console: Console, keep: Path | None = None) -> None:
    """Run the whole job and print the proof.

    `keep` is a folder for the disk, the export and the logs; without it they are deleted at the end.
    Raises NotProved, NotBooted, Unavailable, ClientError, StoreError.
    """
    tools = Tools.find()
    folder = keep or Path(tempfile.mkdtemp(prefix="go2cloud-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with demo_service(folder) as service, service.client() as client:
            console.print(f"[bold]•[/] service on {service.url}, log in {folder / 'service.log'}")
            proof = _prove(console, tools, service, client)
            _summary(console, proof, service)
            boot(console, service, client, keep is not None)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _prove(console: Console, tools: Tools, service: DemoService, client: Client) -> Proof:
    watch, folder = Stopwatch(console), service.folder
    with watch.step("disk", "making a source disk: GPT, EFI system partition, ext4 with real files"):
        disk = DemoDisk.make(folder, tools)
    agent = DemoAgent(folder / "agent")
    with watch.step("enrol", "enrolling the agent of the source host"):
        agent.enroll(service.url, service.install_token(client), disk.path)
    with watch.step("full", "replicating the disk"):
        agent.sync()
    (server,) = client.every(servers.page)
    full = client.send(servers.checkpoint(server.id, servers.LATEST))
    with watch.step("change", "changing files on the source"):
        changed = disk.change(folder)
    with watch.step("delta", "replicating the changes"):
        agent.sync()
    delta = client.send(servers.checkpoint(server.id, servers.LATEST))
    with watch.step("verify", "the service reads all that it stores again"):
        _verify(client, server.id)
    export = folder / "export.img"
    with watch.step("export", "exporting the replica, verified against its root"):
        root = replicas.export_disk(client, delta, delta.disks[0], export)
    with watch.step("compare", "comparing export and source byte for byte, and checking the filesystem"):
        source_root = _compare(disk, export, delta.disks[0])
        fsck = disk.check(export)
    server = client.send(servers.get(server.id))
    return Proof(full, delta, server, source_root, root.hex(), fsck, changed, watch.seconds)


def _verify(client: Client, server: str) -> None:
    result = list(replicas.verify(client, server))[-1]
    if not isinstance(result, VerifyResult) or not result.agrees:
        raise NotProved("the stored bytes do not give the root of the checkpoint")


def _compare(disk: DemoDisk, export: Path, replica: CheckpointDisk) -> str:
    """The root of the source's own bytes, once export and source are the same."""
    at = first_difference(disk.path, export, replica.omitted)
    if at is not None:
        raise NotProved(f"the export differs from the source at byte {at}")
    omitted = [(each.offset, each.length) for each in replica.omitted]
    root = volume_root(disk.path, replica.size_bytes, replica.chunk_size, omitted).hex()
    if root != replica.root:
        raise NotProved(f"the source has the root {root}, the replica {replica.root}")
    return root


def _summary(console: Console, proof: Proof, service: DemoService) -> None:
    table = Table(title="proved: the replica is the source", show_header=False, title_style="bold green")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(proof, service):
        table.add_row(name, value)
    console.print(table)


def _rows(proof: Proof, service: DemoService) -> Iterator[tuple[str, str]]:
    totals, seconds = proof.server.totals, proof.seconds
    free = sum(each.length for each in proof.delta.disks[0].omitted)
    yield "disk", f"{DISK_BYTES / MB:,.0f} MB, of which {free / MB:,.0f} MB are free and were not read"
    for name, point in (("full", proof.full), ("delta", proof.delta)):
        done = point.counters
        yield (
            f"checkpoint {point.number} ({name}, {point.label})",
            f"{done.read_bytes / MB:,.1f} MB read, {done.sent_bytes / MB:,.1f} MB sent whole, "
            f"{done.patched_bytes / MB:,.1f} MB patched, {done.wire_bytes / MB:,.2f} MB on the wire, "
            f"{seconds[name]:.1f} s",
        )
    yield "changed between", f"{proof.changed_bytes / MB:,.1f} MB of file content, and their metadata"
    whole = proof.full.counters
    yield "deduplication", f"{(whole.sent_bytes + whole.known_bytes) / whole.sent_bytes:.2f} : 1 (full copy)"
    yield (
        "compression",
        f"{totals.compression_ratio or 1:.2f} : 1 ({totals.stored_bytes / MB:,.1f} MB stored)",
    )
    yield "root of the source", proof.source_root
    yield "root of the export", proof.export_root
    yield "e2fsck of the export", proof.fsck
    yield "steps", ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    yield "service", f"{service.url}/ and {service.url}/api/v1 (stops now; `make run` starts one that stays)"
