"""What can go wrong on the source host.

AgentError            exit 1
├── UsageError        exit 2   the command line cannot be carried out as given
├── StateError                 the state directory: not enrolled, already enrolled, in use, damaged
├── DiskError                  a source disk: not found, shrunk, vanished, unreadable
│   └── RescanNeeded           what is known of a disk's replica does not do: it is read as a whole again
│       └── TrackerGap         writes to it may have been missed
├── FreezeError                 the filesystems cannot be frozen, or cannot be thawed
├── TrackingError              writes cannot be tracked: tracefs, its instance, or the kept dirty sets
├── LinkError         exit 5   the service cannot be reached, or its answer cannot be accepted
│   ├── Garbled       exit 1   the service got other bytes than were sent
│   └── LinkRefused   exit 1   the connection must not be used: certificate, plain HTTP, protocol version
└── Refusal                    the service said no: its code, status and words
    └── Denied        exit 4   wrong, expired or revoked credential

Every message names the thing and every error can carry a remedy; `code` is stable and for programs.
"""

from pathlib import Path


class AgentError(Exception):
    """The work stops here. `code` is stable, `remedy` says what to do about it."""

    code = "AGENT_ERROR"
    exit_code = 1

    def __init__(self, detail: str, *, code: str | None = None, remedy: str = "") -> None:
        super().__init__(detail)
        if code:
            self.code = code
        self.remedy = remedy

    def __str__(self) -> str:
        """One line: what happened, then the remedy."""
        detail = " ".join(super().__str__().split())
        return f"{detail}; {self.remedy}" if self.remedy else detail


class UsageError(AgentError):
    """The command line cannot be carried out as given."""

    code = "USAGE"
    exit_code = 2


class StateError(AgentError):
    """The state directory does not allow what was asked."""

    code = "STATE"


class DiskError(AgentError):
    """A source disk cannot be copied as it is."""

    code = "DISK"


class RescanNeeded(DiskError):
    """What is known of a disk's replica does not do, for this reason. `key` is the disk's."""

    code = "RESCAN_NEEDED"

    def __init__(self, key: str, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", remedy="the disk is read as a whole now")
        self.key = key
        self.reason = reason


class TrackerGap(RescanNeeded):
    """Writes to the disk may have been missed."""

    code = "TRACKER_GAP"


class FreezeError(AgentError):
    """Filesystems cannot be frozen, and none is any more; or one does not thaw (STILL_FROZEN)."""

    code = "FREEZE_FAILED"


class TrackingError(AgentError):
    """The writes to a disk cannot be tracked; rescanning it always works."""

    code = "TRACKING"


class LinkError(AgentError):
    """The service cannot be reached, or its answer cannot be accepted. May pass by itself."""

    code = "SERVICE_UNREACHABLE"
    exit_code = 5


class Garbled(LinkError):
    """The service got other bytes than were sent: they changed on the way, or in a memory that is faulty."""

    code = "GARBLED"
    exit_code = 1


class LinkRefused(LinkError):
    """This connection must not be used, and trying again does not help."""

    code = "LINK_REFUSED"
    exit_code = 1


class Refusal(AgentError):
    """The service refused a request; `status` is the HTTP status, `chunk_ids` (hex) the ids it names."""

    code = "REFUSED"

    def __init__(
        self, detail: str, *, code: str, status: int, remedy: str = "", chunk_ids: tuple[str, ...] = ()
    ) -> None:
        super().__init__(detail, code=code, remedy=remedy)
        self.status = status
        self.chunk_ids = chunk_ids


class Denied(Refusal):
    """The credential or token is wrong, expired or revoked."""

    exit_code = 4
