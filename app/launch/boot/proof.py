"""What a boot came to: results that the service stores and shows. `document` makes them JSON."""

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from app.contract.words import BootFailure, BootPhase, CheckKind
from app.kit.errors import Json


@dataclass(frozen=True)
class PhaseSeen:
    """A phase and the seconds from the launch to when it was first seen."""

    phase: BootPhase
    after: float


@dataclass(frozen=True)
class CheckResult:
    """How one check ended: `after` are the seconds from the launch to its success."""

    name: str
    kind: CheckKind
    passed: bool
    after: float | None
    detail: str
    """What was found, or what was found last instead."""


@dataclass(frozen=True)
class Screenshot:
    """A picture in the evidence folder."""

    file: str
    sha256: str
    width: int
    height: int
    after: float
    blank: bool


@dataclass(frozen=True)
class BootProof:
    """How a boot, or the publishing of images, ended."""

    instance: str
    target: str
    passed: bool
    reason: BootFailure | None
    detail: str
    """One sentence: what was reached, or what broke."""
    remedy: str | None
    at: datetime
    seconds: float
    """From the launch to the verdict."""
    phases: tuple[PhaseSeen, ...]
    checks: tuple[CheckResult, ...]
    screenshots: tuple[Screenshot, ...]
    """In the order of time: the last one is the proof."""
    thumbnail: str | None
    accelerator: str | None
    serial_tail: str
    """The last lines of the serial log, control codes removed."""

    @property
    def screenshot(self) -> Screenshot | None:
        """The picture that is the proof."""
        return self.screenshots[-1] if self.screenshots else None

    @property
    def passed_at(self) -> datetime | None:
        """When the last of the checks passed: the machine serves since then, though it was watched longer.

        A check of the screen passes with the last picture. None where one did not pass.
        """
        passed = [each.after for each in self.checks if each.passed and each.after is not None]
        if not self.passed or not passed or len(passed) < len(self.checks):
            return None
        return self.at - timedelta(seconds=max(self.seconds - max(passed), 0))


def document(value: object) -> Json:
    """Dataclasses, enums, times, paths and tuples as JSON; keys in camelCase, times in ISO 8601.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [document(each) for each in value]
    if is_dataclass(value):
        return {_camel(each.name): document(getattr(value, each.name)) for each in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
