"""What can be refused about cutovers, and about what follows them.

Conflict
├── ReplicationUnhealthy      the source is not followed right now
├── NotFrozen                 none of the newest checkpoints is one instant of all disks
├── HeadDegraded              the replica lacks what the source could not read
├── NoCutover                 the server has no cutover that could be reverted or finalized
├── CutoverNotSucceeded       the machine has not passed its checks
├── SourceHeard               the source's agent is there, so it can be given its services back
├── NotLaunched               the machine of the cutover does not run
├── CutoverMoved              the cutover is in a state in which this cannot happen to it
├── CutUnusable               the last checkpoint is no basis for a machine
└── SourceNotBack             the source has not said that it has its services back
NotFound
└── CutoverNotFound

Steps end with these codes, too: REPLICA_DIFFERS, REPLICA_UNPROVED, SOURCE_ACTIVE, HOLD_LOST.
"""

from app.kit.errors import Conflict, NotFound


class CutoverNotFound(NotFound):
    """The server has no such cutover."""

    code = "CUTOVER_NOT_FOUND"


class ReplicationUnhealthy(Conflict):
    """The source is not followed right now, so its last changes cannot be had."""

    code = "REPLICATION_UNHEALTHY"


class NotFrozen(Conflict):
    """None of the newest checkpoints is one instant of all disks."""

    code = "NOT_FROZEN"


class HeadDegraded(Conflict):
    """The newest checkpoint has zeros where the source gave read errors."""

    code = "HEAD_DEGRADED"


class NoCutover(Conflict):
    """The server has no cutover that could be reverted or finalized."""

    code = "NO_CUTOVER"


class CutoverNotSucceeded(Conflict):
    """The machine of the cutover has not passed its checks."""

    code = "CUTOVER_NOT_SUCCEEDED"


class SourceHeard(Conflict):
    """The source's agent is there, so it can be given its services back."""

    code = "SOURCE_HEARD"


class NotLaunched(Conflict):
    """The machine of the cutover is not launched, so nothing can be replicated back from it."""

    code = "NOT_LAUNCHED"


class CutoverMoved(Conflict):
    """The cutover is in a state in which this cannot happen to it: somebody led it on meanwhile."""

    code = "CUTOVER_MOVED"


class CutUnusable(Conflict):
    """The checkpoint of the cut is no basis for a machine."""

    code = "CUT_UNUSABLE"


class SourceNotBack(Conflict):
    """The source has not said that it has its services back."""

    code = "SOURCE_NOT_BACK"
