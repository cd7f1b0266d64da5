"""What can be refused about verifications."""

from app.kit.errors import Conflict, NotFound


class VerificationNotFound(NotFound):
    """The server has no such verification."""

    code = "VERIFICATION_NOT_FOUND"


class NothingToVerify(Conflict):
    """The server has no checkpoint to be compared with."""

    code = "NOTHING_TO_VERIFY"


class LeavesUnreadable(Conflict):
    """The store cannot read leaves of the checkpoint: there is nothing to compare with."""

    code = "LEAVES_UNREADABLE"
