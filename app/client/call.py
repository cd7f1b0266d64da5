"""A call of the API as a value: what to send, and how to read the answer.

The modules of nouns (`projects`, `servers`, …) make calls; `Client` and `AsyncClient` send them. So there is
one description of the API for both ways of waiting.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M", bound=BaseModel)

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Value = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request; `path` is below /api/v1; `query` values that are None are left out."""

    method: Method
    path: str
    read: Callable[[bytes], T_co]
    query: Mapping[str, Value] = field(default_factory=dict)
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """The query as text."""
        return {name: _text(value) for name, value in self.query.items() if value is not None}

    @property
    def content(self) -> bytes | None:
        """The body as JSON; members that were not set are left out."""
        if self.body is None:
            return None
        return self.body.model_dump_json(by_alias=True, exclude_unset=True).encode()


def model(kind: type[M]) -> Callable[[bytes], M]:
    """Reads an answer that is one resource."""
    return kind.model_validate_json


def nothing(_body: bytes) -> None:
    """Reads an answer without content."""


def segment(ref: str) -> str:
    """An id or name as one segment of a path."""
    return quote(ref, safe="")


def if_match(version: int) -> dict[str, str]:
    """The header that names the version a change was made from."""
    return {"If-Match": f'"{version}"'}


def repeatable(key: str | None) -> dict[str, str]:
    """The header that makes a POST safe to send again."""
    return {} if key is None else {"Idempotency-Key": key}


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
