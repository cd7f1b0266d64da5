"""What every model of the contract has in common.

A `Resource` is what the API answers: it can be made from any object with the same attribute names (the
frozen dataclasses of the services), and ignores members that it does not know, so that an older client
reads a newer service. An `Input` is what a client sends: unknown members are refused by name.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

T = TypeVar("T")


def _hex(value: object) -> object:
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else value


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


HexRoot = Annotated[str, BeforeValidator(_hex)]
"""A 32-byte hash as 64 lower-case hexadecimal digits; services may hand over the bytes."""

UtcTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An instant; a naive time is refused, any offset is turned into UTC."""


class Resource(BaseModel):
    """What the API answers."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, from_attributes=True, frozen=True, extra="ignore"
    )


class Input(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Listing(Resource, Generic[T]):
    """One page of a list; pass `nextCursor` as `cursor` for the next; it is null on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class Problem(Resource):
    """An RFC 9457 problem document; `code` is stable, `remedy` says what to do.

    Further members depend on the code (`allowed`, `errors`, …) and are kept in `extra`.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow")

    type: str = "about:blank"
    title: str = ""
    status: int
    detail: str = ""
    code: str = "UNKNOWN"
    remedy: str | None = None
    request_id: str | None = None

    @property
    def extra(self) -> Mapping[str, JsonValue]:
        """The members that belong to this code only."""
        return self.model_extra or {}
