"""For how long a test's machine may live, and why what is left of it has to go. Pure, of a test's row."""

from datetime import datetime, timedelta
from typing import Final

from app.contract.resources.launch import LaunchMachine
from app.contract.words import TestState
from app.migration.launch.tables import TestRow

WARNED_FOR: Final = 10
"""An operator is told when this part of a machine's time is left: one in ten."""


def expires_at(test: TestRow) -> datetime | None:
    """When the time of a test's machine is over; None before it was launched."""
    lifetime = LaunchMachine.model_validate(test.machine).lifetime
    return None if test.launched_at is None else test.launched_at + lifetime


def warns_at(test: TestRow) -> datetime:
    """When an operator is told that the time will be over."""
    lifetime = LaunchMachine.model_validate(test.machine).lifetime
    return (test.launched_at or test.created_at) + lifetime - lifetime / WARNED_FOR


def due(test: TestRow, now: datetime) -> str | None:
    """Why what is left of a test has to go now; None where it may stay."""
    if test.state == TestState.ENDED:
        return f"its machine ended by itself: {test.ended_reason}"
    ends = expires_at(test)
    if ends is None or now < ends:
        return None
    return f"the time of its machine is over ({_hours(ends - (test.launched_at or ends))})"


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:g} hours"
