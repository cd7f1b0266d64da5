"""What travels with a heartbeat: the agent's status one way, the service's orders the other."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from app.wire.hold import HoldOrder
from app.wire.jsonform import AtMost


@dataclass(frozen=True)
class DiskStatus:
    """How a disk's replica stands, in bytes.

    `used` is the size without what is omitted. `seen` is the size without what the pass that runs has
    still to get through; `sent` and `known` are plain bytes of that pass, the last one where none runs.
    `backlog` is known to be dirty and in no committed checkpoint. `tracker` names the tracking method, empty
    for none, and `note` says why it is that one or why it had to start again.
    """

    key: Annotated[str, AtMost(255)]
    size: int
    used: int
    seen: int
    sent: int
    known: int
    backlog: int
    unreadable: int = 0
    tracker: Annotated[str, AtMost(32)] = ""
    note: Annotated[str, AtMost(1000)] = ""


@dataclass(frozen=True)
class Rates:
    """Bytes a second over the last 2 minutes and, in the fields ending in `_long`, 30 minutes.

    `dirty` is what was written to the source, `wire` what was sent, `read` how fast the source's disks gave
    their bytes while they were read.
    """

    dirty: int = 0
    dirty_long: int = 0
    wire: int = 0
    wire_long: int = 0
    read: int = 0


ACTIVITIES: Final = frozenset(
    {"starting", "copying", "rescanning", "catching-up", "cutting", "following", "failing", "resting"}
)
"""starting: no pass has begun; copying: the first pass over all disks; rescanning: a pass over all that is
not free, because tracking was interrupted; catching-up: a pass over what is known to be dirty; cutting: the
source is being frozen; following: nothing to do until the next checkpoint is due; failing: passes fail, see
`reason`; resting: paused or stopped by order."""


@dataclass(frozen=True)
class Status:
    """What replication of a host does now: part of a heartbeat.

    `activity` is one of ACTIVITIES. `reason` is a code that the contract knows, empty where all is well, and
    `detail` says it in words. `clock` is the source's own time of sending, ISO-8601. `eta_ms` is None where
    the end of the pass is not known. `freeze_ms` is how long the newest cut froze the source, `reread_bytes`
    what had to be read meanwhile.
    """

    activity: Annotated[str, AtMost(32)]
    clock: Annotated[str, AtMost(64)]
    reason: Annotated[str, AtMost(32)] = ""
    detail: Annotated[str, AtMost(1000)] = ""
    disks: tuple[DiskStatus, ...] = ()
    rates: Rates = field(default_factory=Rates)
    eta_ms: int | None = None
    freeze_ms: int | None = None
    reread_bytes: int = 0


@dataclass(frozen=True)
class Orders:
    """What the service wants of the agent; repeated in every answer, so that none of it can be missed.

    `goal` is RUN, PAUSE (track writes, send nothing) or STOP (do neither). `wire_rate` is the most that may
    be sent, bytes a second; None for no limit. An id in `rescan`, `verification` or `preflight` asks for that
    work once and stands until the agent names it as done; empty for nothing asked. `hold` is what a cutover
    wants of the host's services; None for nothing, which changes nothing about a hold that stands.
    """

    goal: str = "RUN"
    wire_rate: int | None = None
    rescan: Annotated[str, AtMost(32)] = ""
    verification: Annotated[str, AtMost(32)] = ""
    preflight: Annotated[str, AtMost(32)] = ""
    hold: HoldOrder | None = None
