"""Verifications of servers: the running source compared with its replica, without downtime."""

from app.contract.resources.base import Resource, UtcTime
from app.contract.resources.checkpoint import ByteRange
from app.contract.words import Verdict, VerificationLevel, WorkState


class VerifiedDisk(Resource):
    """What was found of a disk, in bytes.

    `read_bytes` came off the disk and `compared_bytes` was compared with the replica, holes of files
    included. Not compared: `omitted_bytes` (free at the checkpoint), `unreadable_bytes` (the source gave read
    errors) and `lost_bytes` (the store cannot read what it has there). Of what was compared, `excused_bytes`
    differs and was written since the checkpoint, `unproved_bytes` differs on a disk whose writes are not all
    known, and `unexplained_bytes` differs and nobody wrote it: `unexplained` are its first ranges.
    `code` says why a disk was not compared to its end.
    """

    key: str
    size_bytes: int
    verdict: Verdict
    read_bytes: int = 0
    compared_bytes: int = 0
    omitted_bytes: int = 0
    unreadable_bytes: int = 0
    lost_bytes: int = 0
    excused_bytes: int = 0
    unproved_bytes: int = 0
    unexplained_bytes: int = 0
    unexplained: tuple[ByteRange, ...] = ()
    seconds: float = 0.0
    code: str | None = None
    note: str | None = None


class VerificationSummary(Resource):
    """A verification in short; `time` is its end, or else its start or its order."""

    id: str
    level: VerificationLevel
    state: WorkState
    verdict: Verdict | None = None
    time: UtcTime


class Verification(Resource):
    """The comparison of all disks of a source with its replica, done by its agent in the background.

    `SUCCEEDED` has the verdict `SAME` or `UNPROVED`. `FAILED` has `DIFFERS`, or a `code` that says why it
    broke off (`detail` in words). `checkpoint_id` is the checkpoint that the comparison ended with.
    `automatic`: the service ordered it, since the last one was old. `disks` is empty in lists.
    """

    id: str
    server_id: str
    level: VerificationLevel = VerificationLevel.ONLINE
    state: WorkState
    verdict: Verdict | None = None
    automatic: bool = False
    checkpoint_id: str | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    requested_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    code: str | None = None
    detail: str | None = None
    disks: tuple[VerifiedDisk, ...] = ()
