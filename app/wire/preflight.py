"""What a preflight measures and finds: of the source host, its disks, and the way to the service.

The agent only reports; the verdict is the service's. Rates are bytes a second, times are in the unit that the
field's name ends in; None or an empty text stands for what was not measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from app.wire.jsonform import AtMost

OK: Final = "ok"
NOTE: Final = "note"
WARNING: Final = "warning"
BLOCKER: Final = "blocker"
SEVERITIES: Final = (OK, NOTE, WARNING, BLOCKER)
"""From the least to the greatest. ok: looked at, and nothing to say; note: good to know; warning: works, with
a loss that the text names; blocker: the migration would fail."""

MAX_FINDINGS: Final = 500


class Code(StrEnum):
    """What a finding is about; docs/operations.md says what each means and what to do."""

    CHECK_FAILED = "CHECK_FAILED"
    NO_DISKS = "NO_DISKS"
    DISK_UNREADABLE = "DISK_UNREADABLE"
    DISK_READ_ERROR = "DISK_READ_ERROR"
    UNKNOWN_LAYOUT = "UNKNOWN_LAYOUT"
    ROOT_NOT_REPLICATED = "ROOT_NOT_REPLICATED"
    LVM = "LVM"
    MD_RAID = "MD_RAID"
    MULTIPATH = "MULTIPATH"
    DM_CRYPT = "DM_CRYPT"
    DM_OTHER = "DM_OTHER"
    BCACHE = "BCACHE"
    DRBD = "DRBD"
    ZFS = "ZFS"
    BTRFS_MULTI_DEVICE = "BTRFS_MULTI_DEVICE"
    STACK_INCOMPLETE = "STACK_INCOMPLETE"
    STORE_ON_DISK = "STORE_ON_DISK"
    SWAP = "SWAP"
    READ_ONLY = "READ_ONLY"
    NETWORK_DISK = "NETWORK_DISK"
    FREEZE_UNSUPPORTED = "FREEZE_UNSUPPORTED"
    FREE_SPACE_UNKNOWN = "FREE_SPACE_UNKNOWN"
    TRACKING = "TRACKING"
    TRACKING_UNAVAILABLE = "TRACKING_UNAVAILABLE"
    LOW_MEMORY = "LOW_MEMORY"
    SERVICE_UNREACHABLE = "SERVICE_UNREACHABLE"
    REQUESTS_LOST = "REQUESTS_LOST"
    NOT_ENCRYPTED = "NOT_ENCRYPTED"
    BANDWIDTH_UNKNOWN = "BANDWIDTH_UNKNOWN"


@dataclass(frozen=True)
class Finding:
    """`code` is one of `Code`, `severity` one of SEVERITIES, `subject` the disk, mount point or host it is
    about; `remedy` says what the replication does about it, or what to do."""

    code: Annotated[str, AtMost(64)]
    severity: Annotated[str, AtMost(16)]
    subject: Annotated[str, AtMost(1024)]
    text: Annotated[str, AtMost(1000)]
    remedy: Annotated[str, AtMost(1000)] = ""


@dataclass(frozen=True)
class NetworkCheck:
    """The way to the service, through the proxy where one is set.

    `delay_us` is the median of small requests that were answered, `delay_min_us` the quickest, `jitter_us`
    the mean difference between one and the next; `loss_permille` counts those that failed. `up_rate` and
    `down_rate` are of one connection with bytes that cannot be compressed, 0 where they were not measured.
    """

    requests: int
    loss_permille: Annotated[int, AtMost(1000)]
    delay_us: int
    delay_min_us: int
    jitter_us: int
    up_rate: int
    down_rate: int
    is_tls: bool
    proxy: Annotated[str, AtMost(300)] = ""
    error: Annotated[str, AtMost(1000)] = ""


@dataclass(frozen=True)
class DiskCheck:
    """One disk; `stands` names what is on it, one thing a text.

    `to_read` are the bytes that a first copy reads: the size without what filesystems say is free.
    `read_rate` is sequential, `latency_us` the median of single 4 KiB reads, both past the page cache unless
    `is_direct` is false. `churn_rate` is what was written to the disk during the observation. `tracker` names
    the tracking method, empty where whole disks are compared, and `tracker_note` says why it is that one.
    """

    key: Annotated[str, AtMost(255)]
    path: Annotated[str, AtMost(1024)]
    size: int
    to_read: int
    sector_size: int
    physical_sector_size: int
    read_rate: int = 0
    latency_us: int = 0
    is_direct: bool = True
    churn_rate: int | None = None
    tracker: Annotated[str, AtMost(32)] = ""
    tracker_note: Annotated[str, AtMost(1000)] = ""
    stands: tuple[Annotated[str, AtMost(1000)], ...] = ()


@dataclass(frozen=True)
class FilesystemCheck:
    """A filesystem on the disk with the key `disk`; `mount_point` is empty where it is not mounted.

    `freezes` says whether a cut can hold it still, `free_map` whether its free space is known and not read;
    the notes say why.
    """

    disk: Annotated[str, AtMost(255)]
    kind: Annotated[str, AtMost(64)]
    device: Annotated[str, AtMost(1024)]
    mount_point: Annotated[str, AtMost(4096)]
    freezes: bool
    freeze_note: Annotated[str, AtMost(1000)]
    free_map: bool
    free_map_note: Annotated[str, AtMost(1000)]


@dataclass(frozen=True)
class Preflight:
    """A whole report. `id` is that of the order, empty where the agent measured of its own accord.

    `started` and `clock` (the source's time of sending) are ISO-8601 with their zone. `observed_ms` is over
    which time the churn was counted, `duration_ms` how long all of it took.
    """

    id: Annotated[str, AtMost(32)]
    started: Annotated[str, AtMost(64)]
    clock: Annotated[str, AtMost(64)]
    wire_version: int
    agent_version: Annotated[str, AtMost(64)]
    observed_ms: int = 0
    duration_ms: int = 0
    firmware: Annotated[str, AtMost(16)] = ""
    kernel: Annotated[str, AtMost(255)] = ""
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    network: NetworkCheck | None = None
    disks: tuple[DiskCheck, ...] = ()
    filesystems: tuple[FilesystemCheck, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class SinkResult:
    """How much the service took of an upload that it threw away, from its first byte to its last."""

    received: int
    elapsed_us: int


def worst_first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings by their severity, otherwise in their order."""
    return tuple(sorted(findings, key=lambda each: -SEVERITIES.index(each.severity)))


def worst(findings: tuple[Finding, ...]) -> str:
    """The greatest severity among the findings; ok without any."""
    return max((each.severity for each in findings), key=SEVERITIES.index, default=OK)
