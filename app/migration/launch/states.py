"""The states of a test as a pure table: what happens to its machine leads from which state to which.

What may be repeated after a process died leads to the same state again.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from app.contract.words import TestState

S = TestState


class TestAction(StrEnum):
    """What happens to a test."""

    __test__ = False

    LAUNCH = "launch"
    PASS = "pass"  # noqa: S105  (no secret)
    END = "end"
    TERMINATE = "terminate"


A = TestAction

TRANSITIONS: Final[Mapping[tuple[TestState, TestAction], TestState]] = MappingProxyType(
    {
        (S.PREPARING, A.LAUNCH): S.BOOTING,
        (S.BOOTING, A.LAUNCH): S.BOOTING,
        (S.BOOTING, A.PASS): S.RUNNING,
        (S.RUNNING, A.PASS): S.RUNNING,
        (S.RUNNING, A.END): S.ENDED,
        (S.ENDED, A.END): S.ENDED,
        **{(state, A.TERMINATE): S.TERMINATED for state in S if state is not S.ENDED},
        (S.ENDED, A.TERMINATE): S.ENDED,
    }
)
