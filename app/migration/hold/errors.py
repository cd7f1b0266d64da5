"""What can be refused about holds."""

from app.kit.errors import Conflict, NotFound


class HoldNotFound(NotFound):
    """The server was never held for this cutover."""

    code = "HOLD_NOT_FOUND"


class HoldStands(Conflict):
    """The server is held for another cutover."""

    code = "HOLD_STANDS"


class HoldEnded(Conflict):
    """The hold was released, or is being released: a cutover is tried again under another id."""

    code = "HOLD_ENDED"


class HoldNotReached(Conflict):
    """The agent has not done what has to come first."""

    code = "HOLD_NOT_REACHED"


class SourceReleased(Conflict):
    """The source gave its services back by itself: nothing may be launched for this cutover."""

    code = "SOURCE_RELEASED"


class ReportRefused(Conflict):
    """A report that cannot be true of this hold, or not any more."""

    code = "HOLD_REPORT_REFUSED"
