"""Source servers and their disks."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from app.contract.resources.base import HexRoot, Input, Resource, UtcTime
from app.contract.resources.verification import VerificationSummary
from app.contract.words import (
    ConsistencyLabel,
    Firmware,
    LifecycleState,
    ReplicationGoal,
    ReplicationOperation,
    ReplicationReason,
    ReplicationState,
    ServerOperation,
)

ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$")]
"""The operator's name of a server; unique in its project; the host name at enrolment."""


SHORTEST_INTERVAL = timedelta(seconds=5)
LONGEST_INTERVAL = timedelta(weeks=1)
LEAST_WIRE_RATE = 16 * 1024
"""Bytes a second below which requests would time out."""


def _interval(value: timedelta) -> timedelta:
    if value and not SHORTEST_INTERVAL <= value <= LONGEST_INTERVAL:
        raise ValueError("an interval is 5 seconds to 1 week, or 0 for checkpoints only on command")
    if value.microseconds:
        raise ValueError("an interval has whole seconds")
    return value


CheckpointInterval = Annotated[timedelta, AfterValidator(_interval)]
"""Between two checkpoints: 5 seconds to 1 week, or 0 for only on command."""

WireRate = Annotated[int, Field(ge=LEAST_WIRE_RATE, le=(1 << 63) - 1)]
"""Bytes a second that an agent may send at most."""


class CheckpointHead(Resource):
    """The newest checkpoint of a server, in short."""

    id: str
    number: int
    label: ConsistencyLabel
    source_time: UtcTime
    created_at: UtcTime


class ServerTotals(Resource):
    """Sizes of a server's replica in bytes, and how much smaller the store holds it.

    `size_bytes`: all disks; `used_bytes`: what is neither zero nor omitted in the head; `stored_bytes`: the
    packs that this server's sessions put and that are kept, those of earlier checkpoints included.
    `dedup_ratio` is `used_bytes` to the plain bytes of those packs (below 1 where history weighs more than
    sharing saves), `compression_ratio` those plain bytes to `stored_bytes`; both None before the first put.
    """

    size_bytes: int
    used_bytes: int
    stored_bytes: int
    dedup_ratio: float | None = None
    compression_ratio: float | None = None


class ReverseReplication(Resource):
    """The way back of a server: its launched machine, which replicates as the server `server_id`.

    `ended`: nothing more comes of it, its checkpoints stay. `lag` and head are those of its own chain.
    """

    server_id: str
    name: str
    ended: bool
    replication_state: ReplicationState
    replication_reason: ReplicationReason | None = None
    lag: timedelta | None = None
    backlog_bytes: int | None = None
    last_seen_at: UtcTime | None = None
    head_checkpoint: CheckpointHead | None = None


class ReverseDisk(Resource):
    """A disk of the source, and which of the machine's it is; where that is null, `doubt` says why."""

    disk_id: str
    path: str
    size_bytes: int
    reverse_disk_id: str | None = None
    reverse_path: str | None = None
    doubt: str | None = None


class Reverse(Resource):
    """The way back of a server, with what becomes of each of its disks."""

    replication: ReverseReplication
    disks: tuple[ReverseDisk, ...]


class Server(Resource):
    """A source server. `inventory` is what its agent last reported, None in lists.

    `lag` is by the source's clock, corrected for its skew. `checkpoint_interval` and `wire_rate` are the
    server's own, None for the installation's. `replication_allowed` are the orders about replication that
    make sense now. `degraded`: the head has ranges that the source could not read. `reverse` is the newest
    way back of a server that was cut over; one that is a way back itself has the server's id in
    `reverse_of`.
    """

    id: str
    project_id: str
    project_name: str
    name: str
    hostname: str
    description: str = ""
    lifecycle_state: LifecycleState
    replication_state: ReplicationState
    replication_reason: ReplicationReason | None = None
    goal: ReplicationGoal = ReplicationGoal.RUN
    checkpoint_interval: timedelta | None = None
    wire_rate: int | None = None
    replication_allowed: tuple[ReplicationOperation, ...] = ()
    degraded: bool = False
    allowed_operations: tuple[ServerOperation, ...]
    archived: bool = False
    os: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    firmware: Firmware | None = None
    agent_version: str | None = None
    lag: timedelta | None = None
    backlog_bytes: int | None = None
    last_seen_at: UtcTime | None = None
    head_checkpoint: CheckpointHead | None = None
    totals: ServerTotals
    verification: VerificationSummary | None = None
    reverse: ReverseReplication | None = None
    reverse_of: str | None = None
    inventory: dict[str, JsonValue] | None = None
    created_at: UtcTime
    version: int


class ServerUpdate(Input):
    """What to change of a server; what is absent stays. A null interval or rate: the installation's again."""

    name: ServerName | None = None
    description: Annotated[str, Field(max_length=1000)] | None = None
    checkpoint_interval: CheckpointInterval | None = None
    wire_rate: WireRate | None = None


class Filesystem(Resource):
    """A filesystem as its superblock tells it; `type` is such as ext4, xfs, vfat, swap or LVM2_member."""

    type: str
    uuid: str | None = None
    label: str | None = None
    mount_points: tuple[str, ...] = ()


class Partition(Resource):
    """A partition; offset and size in bytes, `type` the GPT type GUID or the MBR type in hex."""

    number: int
    offset: int
    size_bytes: int
    type: str | None = None
    uuid: str | None = None
    name: str | None = None
    filesystem: Filesystem | None = None


class Disk(Resource):
    """A disk of a server.

    `key` tells it from the server's other disks for good: its WWN, else its serial, else its path.
    `root`, `omitted_bytes` and `unreadable_bytes` are of the head checkpoint; `root` is None before the
    first.
    """

    id: str
    server_id: str
    key: str
    path: str
    size_bytes: int
    sector_size: int
    chunk_size: int | None = None
    serial: str | None = None
    wwn: str | None = None
    model: str | None = None
    partition_table: str | None = None
    partitions: tuple[Partition, ...] = ()
    filesystem: Filesystem | None = None
    root: HexRoot | None = None
    omitted_bytes: int = 0
    unreadable_bytes: int = 0
