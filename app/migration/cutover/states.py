"""The states of a cutover as a pure table: what happens to it leads from which state to which.

What may be repeated after a process died leads to the same state again. From LAUNCH on, the source may run
only after a revert: of each cutover at most one side is active, whichever state it is in.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from app.contract.cutoverwords import CutoverState

S = CutoverState


class CutoverAction(StrEnum):
    """What happens to a cutover."""

    STOP = "stop"
    LAUNCH = "launch"
    PASS = "pass"  # noqa: S105  (no secret)
    UNDO = "undo"
    REVERT = "revert"
    RELEASE = "release"
    FINALIZE = "finalize"


A = CutoverAction

TRANSITIONS: Final[Mapping[tuple[CutoverState, CutoverAction], CutoverState]] = MappingProxyType(
    {
        (S.PREPARING, A.STOP): S.STOPPING,
        (S.STOPPING, A.STOP): S.STOPPING,
        (S.STOPPING, A.LAUNCH): S.LAUNCHED,
        (S.LAUNCHED, A.LAUNCH): S.LAUNCHED,
        (S.LAUNCHED, A.PASS): S.SUCCEEDED,
        (S.SUCCEEDED, A.PASS): S.SUCCEEDED,
        (S.PREPARING, A.UNDO): S.UNDONE,
        (S.STOPPING, A.UNDO): S.UNDONE,
        (S.UNDONE, A.UNDO): S.UNDONE,
        **{
            (state, A.REVERT): S.REVERTING
            for state in (S.PREPARING, S.STOPPING, S.LAUNCHED, S.SUCCEEDED, S.REVERTING)
        },
        (S.REVERTING, A.RELEASE): S.REVERTED,
        (S.REVERTED, A.RELEASE): S.REVERTED,
        (S.SUCCEEDED, A.FINALIZE): S.FINALIZED,
        (S.FINALIZED, A.FINALIZE): S.FINALIZED,
    }
)

OVER: Final = frozenset((S.REVERTED, S.UNDONE, S.FINALIZED))
"""States in which nothing more happens to a cutover."""

SOURCE_RUNS: Final = frozenset((S.PREPARING, S.REVERTED, S.UNDONE))
"""States in which the source may run."""

TARGET_RUNS: Final = frozenset((S.LAUNCHED, S.SUCCEEDED, S.FINALIZED))
"""States in which the machine may run."""
