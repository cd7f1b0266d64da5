"""Inputs and results of steps: frozen dataclasses in code, JSON in the database."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from app.kit.errors import Json
from app.work.errors import StepFailed

T = TypeVar("T")


def to_json(value: object) -> Json:
    """The value (None, text, number, dataclass, or a tuple of such) as JSON. Raises TypeError for others."""
    if value is None:
        return None
    try:
        dumped: Json = TypeAdapter(type(value)).dump_python(value, mode="json")
    except (ValueError, TypeError) as error:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON: use a dataclass") from error
    return dumped


def from_json(kind: type[T], value: Json, what: str) -> T:
    """The value of `to_json`; `what` names it. Raises StepFailed VALUE_UNREADABLE where it is another."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise StepFailed(
            f"{what} is no {kind.__name__}: {error.error_count()} members are wrong or lacking",
            code="VALUE_UNREADABLE",
            remedy="an older or newer go2cloud wrote it: cancel the job and order it again",
        ) from error
