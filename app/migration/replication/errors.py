"""What can be refused about replication; an agent acts on the codes."""

from app.kit.errors import Conflict, Invalid, NotFound


class CheckpointNotFound(NotFound):
    """The server has no such checkpoint."""

    code = "CHECKPOINT_NOT_FOUND"


class DiskNotFound(NotFound):
    """The server, or the checkpoint, has no such disk."""

    code = "DISK_NOT_FOUND"


class SessionNotFound(NotFound):
    """The server has no such replication session."""

    code = "SESSION_NOT_FOUND"


class Fenced(Conflict):
    """A newer session of the server exists: this one can write nothing more."""

    code = "FENCED"


class BaseMismatch(Conflict):
    """A commit stands on another checkpoint or root than the head."""

    code = "BASE_MISMATCH"


class MissingChunks(Conflict):
    """A commit refers to chunks that the server never put, or that are gone; `ids` lists some of them."""

    code = "MISSING_CHUNKS"


class MissingLeaves(Conflict):
    """A commit refers to leaves that were not put, or that are gone."""

    code = "MISSING_LEAVES"


class SourceTimeWentBack(Conflict):
    """A commit shows an earlier moment of the source than the head does; `headTime` is the head's."""

    code = "SOURCE_TIME_WENT_BACK"


class RootMismatch(Invalid):
    """The agent's root differs from the one that the service computes of the same leaves."""

    code = "ROOT_MISMATCH"


class OperationNotAllowed(Conflict):
    """An order about replication that makes no sense now; `allowed` lists those that do."""

    code = "OPERATION_NOT_ALLOWED"
