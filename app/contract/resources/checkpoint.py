"""Checkpoints, and the events of verifying one."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from app.contract.resources.base import HexRoot, Resource, UtcTime
from app.contract.words import ConsistencyLabel


class ByteRange(Resource):
    """A range of a disk in bytes."""

    offset: int
    length: int


class CheckpointDisk(Resource):
    """One disk's content in a checkpoint.

    `root` names the whole content; the agent computed it from the source's own bytes and the service agreed
    at commit. `omitted`: free space that was not read and is zeros in the replica; `unreadable`: ranges that
    the source could not read. Every comparison leaves both out.
    """

    disk_id: str
    key: str
    path: str
    size_bytes: int
    chunk_size: int
    root: HexRoot
    parent_root: HexRoot | None = None
    label: ConsistencyLabel
    omitted: tuple[ByteRange, ...] = ()
    unreadable: tuple[ByteRange, ...] = ()


class CheckpointCounters(Resource):
    """What it took to make a checkpoint, in bytes of plain disk content except `wire_bytes`.

    `read_bytes` = `zero_bytes` + `known_bytes` (the store had them) + `sent_bytes` + `patched_bytes` + what
    equals the parent; `wire_bytes` is what the put streams weighed, compressed.
    """

    read_bytes: int = 0
    zero_bytes: int = 0
    known_bytes: int = 0
    sent_bytes: int = 0
    wire_bytes: int = 0
    patched_bytes: int = 0
    omitted_bytes: int = 0


class Checkpoint(Resource):
    """The committed content of all disks of a server; `parent` is the id of the one before.

    The source was frozen for `freeze_ms`, after `rounds` passes over what was written meanwhile. `degraded`:
    there are ranges that the source could not read. `confirmed` is False for one that was restored from the
    store's files without proof of its commit.
    """

    id: str
    server_id: str
    number: int
    parent: str | None = None
    generation: int
    label: ConsistencyLabel
    source_time: UtcTime
    created_at: UtcTime
    disks: tuple[CheckpointDisk, ...]
    counters: CheckpointCounters
    freeze_ms: int = 0
    rounds: int = 0
    degraded: bool = False
    confirmed: bool


class VerifyProgress(Resource):
    """How far a verification is."""

    event: Literal["progress"] = "progress"
    checked_bytes: int
    total_bytes: int


class DiskVerdict(Resource):
    """What verifying one disk found.

    `checkpoint_root` is the root that the agent computed from the source at `source_time` and that was
    committed; `stored_root` is the root that the service recomputed just now from the stored bytes, None
    when bytes are missing; `bad_chunks` are the offsets (bytes) of chunks that are missing or hash wrong,
    at most 1,000 of `bad_chunk_count`.
    """

    disk_id: str
    key: str
    path: str
    size_bytes: int
    label: ConsistencyLabel
    source_time: UtcTime
    checkpoint_root: HexRoot
    stored_root: HexRoot | None
    bad_chunks: tuple[int, ...] = ()
    bad_chunk_count: int = 0
    agrees: bool


class VerifyResult(Resource):
    """The last event of a verification; `agrees` only when every disk does."""

    event: Literal["result"] = "result"
    server_id: str
    checkpoint_id: str
    checkpoint_number: int
    disks: tuple[DiskVerdict, ...]
    agrees: bool


class VerifyFailed(Resource):
    """The last event when verifying broke off; nothing is known then."""

    event: Literal["failed"] = "failed"
    code: str
    detail: str
    remedy: str | None = None


VerifyEvent = Annotated[VerifyProgress | VerifyResult | VerifyFailed, Field(discriminator="event")]
"""One line of the answer of a checkpoint's `:verify`."""

VERIFY_EVENT: TypeAdapter[VerifyProgress | VerifyResult | VerifyFailed] = TypeAdapter(VerifyEvent)
