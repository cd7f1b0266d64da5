"""How a server's replication stands: what its agent reports, and what follows from it."""

from datetime import timedelta

from app.contract.resources.base import Resource, UtcTime
from app.contract.words import (
    AgentActivity,
    ConsistencyLabel,
    ReplicationGoal,
    ReplicationOperation,
    ReplicationReason,
    ReplicationState,
)


class DiskReplication(Resource):
    """How a disk's replica stands, in bytes.

    `used_bytes`: the size without what is omitted. `seen_bytes`: what the pass that runs need
    not look at any more; `sent_bytes` and `known_bytes` are plain bytes of that pass, of the last one where
    none runs.
    `backlog_bytes`: known to be dirty and in no committed checkpoint. `tracker` is the tracking method, None
    for none; `note` says why it is that one.
    """

    key: str
    path: str | None = None
    size_bytes: int
    used_bytes: int
    seen_bytes: int
    sent_bytes: int
    known_bytes: int
    backlog_bytes: int
    unreadable_bytes: int
    tracker: str | None = None
    note: str | None = None


class ReplicationRates(Resource):
    """Bytes a second over the last 2 minutes and, in the members ending in `Long`, 30 minutes.

    `dirty`: written on the source; `wire`: sent; `read`: how fast the source's disks gave their bytes while
    they were read.
    """

    dirty: int = 0
    dirty_long: int = 0
    wire: int = 0
    wire_long: int = 0
    read: int = 0


class LastCut(Resource):
    """The newest checkpoint: how long it froze the source, after how many rounds, and how exact it is."""

    checkpoint_id: str
    number: int
    label: ConsistencyLabel
    freeze_ms: int
    rounds: int
    source_time: UtcTime


class ReplicationForecast(Resource):
    """Whether replication catches up and when, and how long a cutover now would freeze the source.

    `converges` is None where nothing can be said, and `explanation` says why in any case.
    """

    verdict: str
    converges: bool | None
    explanation: str
    caught_up_in: timedelta | None = None
    freeze: timedelta | None = None


class Replication(Resource):
    """How replication of a server stands.

    `goal` is what an operator wants, `state` and `reason` what happens, since `since`; `detail` is the
    agent's own sentence. What an agent reports is of `reported_at`, None where it never did. `lag` is
    corrected by `clock_skew_ms`, the source's clock minus the service's. `checkpoint_interval` is the one in
    force, zero for checkpoints only on command. `rescan_ordered`: a rescan was ordered and not committed yet.
    """

    server_id: str
    goal: ReplicationGoal
    state: ReplicationState
    reason: ReplicationReason | None = None
    detail: str | None = None
    since: UtcTime | None = None
    activity: AgentActivity | None = None
    reported_at: UtcTime | None = None
    eta: timedelta | None = None
    lag: timedelta | None = None
    backlog_bytes: int | None = None
    clock_skew_ms: int | None = None
    checkpoint_interval: timedelta
    wire_rate: int | None = None
    rescan_ordered: bool = False
    rates: ReplicationRates | None = None
    disks: tuple[DiskReplication, ...] = ()
    last_cut: LastCut | None = None
    forecast: ReplicationForecast | None = None
    allowed: tuple[ReplicationOperation, ...] = ()
