"""Preflights: what was measured of a source host and of the way from it, and what follows from that.

Rates are bytes a second; 0 or None stands for what was not measured.
"""

from app.contract.preflightwords import Bottleneck, PreflightOutcome
from app.contract.resources.base import Resource, UtcTime
from app.contract.words import FindingSeverity, WorkState


class PreflightFinding(Resource):
    """`code` is stable, `subject` a disk, mount point or host; `remedy` says what to do, or what is done."""

    code: str
    severity: FindingSeverity
    subject: str
    text: str
    remedy: str = ""


class PreflightNetwork(Resource):
    """The way to the service, through the proxy where one is set.

    `delay_us` is the median of small requests, `delay_min_us` the quickest, `jitter_us` the mean difference
    from one to the next, `loss_permille` the share of those that failed.
    """

    requests: int
    loss_permille: int
    delay_us: int
    delay_min_us: int
    jitter_us: int
    up_rate: int
    down_rate: int
    is_tls: bool
    proxy: str = ""
    error: str = ""


class PreflightDisk(Resource):
    """A disk: a first copy reads `to_read` bytes; `churn_rate` was written to it while it was watched."""

    key: str
    path: str
    size: int
    to_read: int
    sector_size: int
    physical_sector_size: int
    read_rate: int
    latency_us: int
    is_direct: bool
    churn_rate: int | None = None
    tracker: str = ""
    tracker_note: str = ""
    stands: tuple[str, ...] = ()


class PreflightFilesystem(Resource):
    """A filesystem on the disk with the key `disk`; `mount_point` is empty where it is not mounted."""

    disk: str
    kind: str
    device: str
    mount_point: str
    freezes: bool
    freeze_note: str
    free_map: bool
    free_map_note: str


class PreflightEstimate(Resource):
    """What to expect; None where something that it needs was not measured.

    `read_bytes` are read for the first copy, and `wire_bytes` sent if they compress `compression_ratio` to 1,
    which is an assumption, as is that nothing is deduplicated. `first_copy_seconds` includes what is written
    meanwhile; `bottleneck` is what it waits for. `churn_rate` is that of all disks, and `link_rate` what the
    link carries of it; replication `converges` if the link is the quicker one. `freeze_ms` is how long a
    cutover would hold the source still.
    """

    read_bytes: int
    wire_bytes: int
    compression_ratio: float
    first_copy_seconds: int | None = None
    bottleneck: Bottleneck | None = None
    churn_rate: int | None = None
    link_rate: int | None = None
    converges: bool | None = None
    freeze_ms: int | None = None


class PreflightVerdict(Resource):
    """`findings` are the agent's and the service's, the gravest first; judged as things stand at reading."""

    outcome: PreflightOutcome
    findings: tuple[PreflightFinding, ...]
    estimate: PreflightEstimate


class PreflightReport(Resource):
    """What the agent measured."""

    agent_version: str
    observed_ms: int
    duration_ms: int
    firmware: str
    kernel: str
    memory_bytes: int
    memory_free_bytes: int
    network: PreflightNetwork | None = None
    disks: tuple[PreflightDisk, ...] = ()
    filesystems: tuple[PreflightFilesystem, ...] = ()


class Preflight(Resource):
    """One preflight; `report` and `verdict` are None until the agent has delivered."""

    id: str
    server_id: str
    state: WorkState
    requested_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    report: PreflightReport | None = None
    verdict: PreflightVerdict | None = None
