"""How an attempt of a step, or of undoing it, can end."""

from dataclasses import dataclass
from typing import TypeAlias

from app.kit.errors import Json


@dataclass(frozen=True, slots=True)
class Done:
    """It is done; `result` is JSON, and nothing where a step was undone."""

    result: Json = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It ended in an error; `is_for_good`: trying again will not help."""

    code: str
    detail: str
    remedy: str | None = None
    is_for_good: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """It will be run again when at most `may_stand` of the job's children stand."""

    may_stand: int = 0


@dataclass(frozen=True, slots=True)
class Interrupted:
    """It stopped because the job is cancelled."""


@dataclass(frozen=True, slots=True)
class Released:
    """It stopped because its process stops; another one goes on with it."""


Outcome: TypeAlias = Done | Failed | Parked | Interrupted | Released
"""What is written down. A worker that lost its lease writes nothing."""
