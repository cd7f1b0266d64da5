"""The lifecycle of a server as a pure table: which action leads from which state to which.

The state is of the server; whether an action's work runs, succeeded or failed is said by the job beside it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.contract.words import LifecycleState, ServerOperation

S = LifecycleState
O = ServerOperation  # noqa: E741  (reads as a table below)

TRANSITIONS: Final[Mapping[tuple[LifecycleState, ServerOperation], LifecycleState]] = MappingProxyType(
    {
        (S.READY_FOR_TEST, O.TEST): S.TESTING,
        (S.TESTING, O.TEST): S.TESTING,
        (S.READY_FOR_CUTOVER, O.TEST): S.TESTING,
        (S.TESTING, O.MARK_READY): S.READY_FOR_CUTOVER,
        (S.READY_FOR_CUTOVER, O.CUTOVER): S.CUTTING_OVER,
        (S.CUTTING_OVER, O.FINALIZE): S.CUTOVER,
        (S.TESTING, O.REVERT): S.READY_FOR_TEST,
        (S.READY_FOR_CUTOVER, O.REVERT): S.READY_FOR_TEST,
        (S.CUTTING_OVER, O.REVERT): S.READY_FOR_CUTOVER,
        **{
            (state, O.DISCONNECT): S.DISCONNECTED
            for state in S
            if state not in (S.CUTTING_OVER, S.DISCONNECTED)
        },
        (S.CUTTING_OVER, O.REVERSE): S.CUTTING_OVER,
        (S.CUTOVER, O.REVERSE): S.CUTOVER,
        (S.CUTOVER, O.ARCHIVE): S.CUTOVER,
        (S.DISCONNECTED, O.ARCHIVE): S.DISCONNECTED,
    }
)

SERVED: Final = frozenset(ServerOperation)
"""The operations that this version carries out."""


def after_checkpoint(state: LifecycleState) -> LifecycleState:
    """The state after a bootable checkpoint was committed: the first one makes a server ready for a test."""
    return S.READY_FOR_TEST if state is S.NOT_READY else state


def allowed(state: LifecycleState) -> tuple[ServerOperation, ...]:
    """What may be done to a server in this state, in the order of the words."""
    return tuple(operation for operation in O if operation in SERVED and (state, operation) in TRANSITIONS)


def taken_back(
    state: LifecycleState, operation: ServerOperation, came_from: LifecycleState
) -> LifecycleState:
    """The state when an operation is undone: the one that it came from, unless it was led on since."""
    return came_from if TRANSITIONS.get((came_from, operation)) is state else state
