"""The words of cutovers; as `words`, standard library only."""

from enum import StrEnum


class CutoverState(StrEnum):
    """How a cutover of a server stands.

    `PREPARING`: the source runs as ever; the replica is verified and written to the target. `STOPPING`: the
    source's services are being stopped, or are, and its last changes are on their way. `LAUNCHED`: the
    machine was ordered to start, and the source may not run until a revert. `SUCCEEDED`: the machine passed
    its checks. `REVERTING`: the machine goes, then the source gets its services back. `REVERTED`: it has them
    back, unless `sourceGone` says why not. `UNDONE`: it ended before the launch, and the source runs as ever.
    `FINALIZED`: replication ended.
    """

    PREPARING = "PREPARING"
    STOPPING = "STOPPING"
    LAUNCHED = "LAUNCHED"
    SUCCEEDED = "SUCCEEDED"
    REVERTING = "REVERTING"
    REVERTED = "REVERTED"
    UNDONE = "UNDONE"
    FINALIZED = "FINALIZED"


class CutoverPhase(StrEnum):
    """The parts of a cutover of which the times are kept, in their order."""

    VERIFY = "verify"
    PRECOPY = "precopy"
    STOP = "stop"
    CUT = "cut"
    APPLY = "apply"
    CONVERT = "convert"
    KEEP = "keep"
    LAUNCH = "launch"
    CHECK = "check"


class LedgerEntryKind(StrEnum):
    """What became of something when a cutover ended."""

    LEFT = "left"
    REMOVED = "removed"
    KEPT = "kept"
