"""Reports of servers: what was copied, what is proved of it, and what is not.

A report is a statement about one moment. It travels signed (`app.contract.signedreport`) and is kept by those
who fetched it; the service keeps none. Amounts are bytes, durations seconds.
"""

from app.contract.cutoverwords import CutoverState
from app.contract.reportwords import ProofResult
from app.contract.resources.base import HexRoot, Resource, UtcTime
from app.contract.resources.wave import Run, Wave
from app.contract.words import (
    BootFailure,
    ConsistencyLabel,
    Firmware,
    LifecycleState,
    ReplicationGoal,
    ReplicationReason,
    ReplicationState,
    TestState,
    VerificationLevel,
    WorkState,
)


class ReportKey(Resource):
    """The public key that reports are signed with: `pem`, and `fingerprint`, the SHA-256 of its DER form."""

    algorithm: str
    fingerprint: str
    public: str
    pem: str


class ReportedServer(Resource):
    """The server as it stood when the report was made."""

    id: str
    name: str
    hostname: str
    project_id: str
    project_name: str
    description: str = ""
    lifecycle_state: LifecycleState
    replication_state: ReplicationState
    replication_reason: ReplicationReason | None = None
    goal: ReplicationGoal
    archived: bool = False
    os: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    firmware: Firmware | None = None
    agent_version: str | None = None
    enrolled_at: UtcTime
    last_seen_at: UtcTime | None = None


class ReportedCheckpoint(Resource):
    """The checkpoint that the report is about: that of the cutover, else the newest."""

    id: str
    number: int
    label: ConsistencyLabel
    source_time: UtcTime
    created_at: UtcTime
    freeze_seconds: float
    rounds: int
    degraded: bool
    confirmed: bool


class ReportedCopy(Resource):
    """What was copied, over the `checkpoints` that are kept, the first of which was made at `since`.

    `size_bytes`: all disks of the report's checkpoint; `used_bytes`: what of it is neither zero nor left out.
    `read_bytes` came off the source, of which `zero_bytes` were zeros, `known_bytes` were stored already,
    `sent_bytes` were sent whole and `patched_bytes` as small changes; `wire_bytes` is what that weighed.
    `stored_bytes` is what the server's packs weigh now. Ratios are as in `ServerTotals`.
    """

    checkpoints: int
    since: UtcTime | None = None
    size_bytes: int
    used_bytes: int
    read_bytes: int
    zero_bytes: int
    known_bytes: int
    sent_bytes: int
    patched_bytes: int
    wire_bytes: int
    stored_bytes: int
    dedup_ratio: float | None = None
    compression_ratio: float | None = None


class ReportedDisk(Resource):
    """A disk of the checkpoint, and the roots on both sides.

    `source_root` was computed by the agent from the source's own bytes, `replica_root` by the service from
    the hashes of what it stores: the commit wants them equal. `volume_root` is of the bytes of a volume that
    was written of this checkpoint, None where none was. `omitted_bytes` were free and not read,
    `unreadable_bytes` could not be read: both are zeros in the replica.
    """

    id: str
    key: str
    path: str
    size_bytes: int
    used_bytes: int
    omitted_bytes: int
    unreadable_bytes: int
    label: ConsistencyLabel
    source_root: HexRoot
    replica_root: HexRoot
    volume_root: HexRoot | None = None


class ReportedLevel(Resource):
    """What a level of verification claims, whether that is proved, since when, and in words by what."""

    level: VerificationLevel
    claim: str
    result: ProofResult
    time: UtcTime | None = None
    checkpoint_number: int | None = None
    detail: str


class ReportedPhase(Resource):
    """Something that took a time; `seconds` is None while it is not over."""

    name: str
    started_at: UtcTime | None = None
    seconds: float | None = None
    state: WorkState | None = None
    undone: bool = False


class ReportedCheck(Resource):
    """A check of a machine, and how it ended; `after` are the seconds from the launch."""

    name: str
    kind: str
    passed: bool
    after: float | None = None
    detail: str = ""


class ReportedBoot(Resource):
    """A machine that was made of a checkpoint. `passed` is None where there was no verdict."""

    id: str
    job_id: str
    state: TestState
    checkpoint_number: int
    label: ConsistencyLabel
    source_time: UtcTime
    target: str
    node: str | None = None
    accelerator: str | None = None
    requested_by: str
    created_at: UtcTime
    checked_at: UtcTime | None = None
    terminated_at: UtcTime | None = None
    passed: bool | None = None
    reason: BootFailure | None = None
    detail: str | None = None
    seconds: float | None = None
    phases: tuple[ReportedPhase, ...] = ()
    checks: tuple[ReportedCheck, ...] = ()


class ReportedScreenshot(Resource):
    """The last picture of a machine's screen: a PNG in Base64; `of` is the id of the test or cutover."""

    of: str
    is_thumbnail: bool
    sha256: str
    png: str


class ReportedChange(Resource):
    """A change that the conversion made to the disks of the launched machine: in which file, and why.

    `lines` are those that went ('-') and came ('+').
    """

    path: str
    reason: str
    lines: tuple[str, ...] = ()


class ReportedConversion(Resource):
    """What was changed so that the disks boot on the machine `of` a cutover or test, not in the replica.

    `system` and `root` are what was found on the disks, None where they were not looked at.
    """

    of: str
    system: str | None = None
    root: str | None = None
    changes: tuple[ReportedChange, ...] = ()
    warnings: tuple[str, ...] = ()


class ReportedCutover(Resource):
    """The cutover: what it did by steps, and for how long the service was away.

    `downtime_seconds` are from `down_since` (the source's services stopped, or its last freeze) to `up_since`
    (the last check of the launched machine passed); None while one of them is not known. `phases` are its
    parts. `passed_over` are doubts that its order passed over, for the reason `override`. `source_gone`: why
    an operator said that the source is gone; its services were not given back when the cutover was reverted.
    `ledger` has what the end left, removed and kept: kind, what, and detail.
    """

    id: str
    job_id: str
    state: CutoverState
    requested_by: str
    created_at: UtcTime
    finished_at: UtcTime | None = None
    checkpoint_number: int | None = None
    target: str = ""
    down_since: UtcTime | None = None
    up_since: UtcTime | None = None
    downtime_seconds: float | None = None
    source_stopped: bool | None = None
    source_gone: str | None = None
    passed: bool | None = None
    detail: str | None = None
    override: str | None = None
    passed_over: tuple[str, ...] = ()
    phases: tuple[ReportedPhase, ...] = ()
    checks: tuple[ReportedCheck, ...] = ()
    ledger: tuple[tuple[str, str, str], ...] = ()


class ReportedJob(Resource):
    """A job of the server, in short."""

    id: str
    kind: str
    state: WorkState
    requested_by: str
    created_at: UtcTime
    finished_at: UtcTime | None = None
    code: str | None = None
    detail: str | None = None


class ReportedAct(Resource):
    """Who did what and when: an entry of the audit trail. `details` are pairs of a name and a JSON text."""

    time: UtcTime
    who: str
    action: str
    resource: str
    details: tuple[tuple[str, str], ...] = ()


class ReportedRemark(Resource):
    """Something that the reader must know; `code` is stable."""

    code: str
    text: str


class ServerReport(Resource):
    """All that go2cloud can say of the migration of a server, at one moment.

    `warnings`: what is not as it should be. `gaps`: what is not verified, or not known any more.
    """

    id: str
    created_at: UtcTime
    created_by: str
    product: str
    server: ReportedServer
    checkpoint: ReportedCheckpoint | None = None
    copied: ReportedCopy
    disks: tuple[ReportedDisk, ...] = ()
    verification: tuple[ReportedLevel, ...] = ()
    boots: tuple[ReportedBoot, ...] = ()
    cutover: ReportedCutover | None = None
    conversion: ReportedConversion | None = None
    screenshot: ReportedScreenshot | None = None
    jobs: tuple[ReportedJob, ...] = ()
    trail: tuple[ReportedAct, ...] = ()
    warnings: tuple[ReportedRemark, ...] = ()
    gaps: tuple[ReportedRemark, ...] = ()


class ReportedMember(Resource):
    """A server of a wave in short: what its own report says. `levels` are pairs of a level and its result."""

    id: str
    name: str
    application: str
    lifecycle_state: LifecycleState
    checkpoint_number: int | None = None
    tested: bool | None = None
    came_up: bool | None = None
    downtime_seconds: float | None = None
    levels: tuple[tuple[VerificationLevel, ProofResult], ...] = ()
    warnings: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


class WaveReport(Resource):
    """A wave at one moment: the newest run of each operation, and its servers in short."""

    id: str
    created_at: UtcTime
    created_by: str
    product: str
    name: str
    wave: Wave
    runs: tuple[Run, ...] = ()
    servers: tuple[ReportedMember, ...] = ()


class SigningKey(Resource):
    """The key of a signature; `public` are its 32 bytes in hexadecimal digits."""

    algorithm: str
    fingerprint: str
    public: str


class SignedReport(Resource):
    """A report as it travels: see `app.contract.signedreport` for what is signed, and how `sums` are made."""

    format: str
    report: ServerReport | WaveReport
    sums: dict[str, str]
    key: SigningKey
    signature: str
