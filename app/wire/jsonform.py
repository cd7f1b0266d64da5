"""Strict JSON of the protocol's messages: every field is declared, of its type, within its limits, and known.

Supports what messages use: str, int, bool, optional and nested dataclasses, homogeneous tuples and pairs,
and `Annotated` with the limits below. An integer is at least 0 and fits 63 bits, a text is valid Unicode:
what a message carries can be stored anywhere as it is.
"""

import dataclasses
import json
import re
import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from app.wire.errors import MessageError

T = TypeVar("T")

MAX_INTEGER: Final = (1 << 63) - 1
_SHOWN: Final = 64
"""Characters of a foreign field name that an error repeats."""


class Limit(Protocol):
    """What an `Annotated` field demands beyond its type."""

    def refusal(self, value: Any) -> str | None:
        """What was expected instead of `value`; None when it is fine."""


@dataclass(frozen=True)
class AtMost:
    """The largest integer, or the most characters of a text."""

    most: int

    def refusal(self, value: Any) -> str | None:
        """See `Limit.refusal`."""
        if isinstance(value, str):
            return None if len(value) <= self.most else f"at most {self.most} characters expected"
        return None if value <= self.most else f"at most {self.most} expected"


@dataclass(frozen=True)
class Hex:
    """Exactly `length` bytes as lower-case hex; `or_empty` also lets the empty text pass, `or_more` any
    number of such pieces."""

    length: int
    or_empty: bool = False
    or_more: bool = False

    def refusal(self, value: Any) -> str | None:
        """See `Limit.refusal`."""
        pieces, rest = divmod(len(value), 2 * self.length)
        has_length = not rest and (pieces == 1 or self.or_more or (self.or_empty and not pieces))
        if has_length and _LOWER_HEX.fullmatch(value):
            return None
        times = "any number of times " if self.or_more else ""
        return f"{times}{2 * self.length} lower-case hexadecimal digits expected"


_LOWER_HEX: Final = re.compile("[0-9a-f]*")


def encode(message: Any) -> bytes:
    """A message as JSON. A field that is None is left out, which says the same: so a side that does not know
    an optional field understands a message that does not use it."""
    return json.dumps(dataclasses.asdict(message, dict_factory=_present), separators=(",", ":")).encode()


def _present(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None}


def decode(kind: type[T], data: bytes) -> T:
    """Parse a message of the given kind from UTF-8. Raises MessageError that names the field."""
    try:
        value = json.loads(str(data, "utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{kind.__name__}: this is not JSON: {error}") from error
    return build(kind, value)


def build(kind: type[T], value: Any) -> T:
    """A message out of already parsed JSON. Raises MessageError that names the field."""
    built: T = _build(kind, value, kind.__name__)
    return built


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object. Raises MessageError for a name that stands twice: which one would count?"""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise MessageError(f"the field {name[:_SHOWN]!r} stands twice in one object")
        members[name] = value
    return members


def _build(kind: Any, value: Any, where: str) -> Any:
    if kind is int:
        return _integer(value, where)
    if kind is str:
        return _text(value, where)
    if kind is bool:
        return _scalar(bool, value, where)
    origin = get_origin(kind)
    if origin is Annotated:
        return _limited(get_args(kind), value, where)
    if origin in (Union, types.UnionType):
        return _optional(kind, value, where)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    return _dataclass(kind, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise MessageError(f"{where}: {kind.__name__} expected")
    return value


def _integer(value: Any, where: str) -> int:
    number: int = _scalar(int, value, where)
    if not 0 <= number <= MAX_INTEGER:
        raise MessageError(f"{where}: an integer from 0 to {MAX_INTEGER} expected")
    return number


def _text(value: Any, where: str) -> str:
    text: str = _scalar(str, value, where)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessageError(f"{where}: a surrogate without its other half is no character") from error
    return text


def _limited(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    kind, *limits = kinds
    built = _build(kind, value, where)
    for limit in limits:
        if refusal := limit.refusal(built):
            raise MessageError(f"{where}: {refusal}")
    return built


def _optional(kind: Any, value: Any, where: str) -> Any:
    if value is None:
        return None
    (inner,) = (member for member in get_args(kind) if member is not types.NoneType)
    return _build(inner, value, where)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise MessageError(f"{where}: a list expected")
    if kinds[-1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{where}[{at}]") for at, item in enumerate(value))
    if len(value) != len(kinds):
        raise MessageError(f"{where}: {len(kinds)} items expected")
    pairs = zip(kinds, value, strict=True)
    return tuple(_build(kind, item, f"{where}[{at}]") for at, (kind, item) in enumerate(pairs))


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise MessageError(f"{where}: an object expected")
    declared = _fields(kind)
    for name in value:
        if name not in declared:
            raise MessageError(f"{where}.{name[:_SHOWN]}: unknown field")
    for name, (_, required) in declared.items():
        if required and name not in value:
            raise MessageError(f"{where}.{name}: missing")
    return kind(**{name: _build(declared[name][0], item, f"{where}.{name}") for name, item in value.items()})


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind, include_extras=True)
    missing = dataclasses.MISSING
    return {
        item.name: (hints[item.name], item.default is missing and item.default_factory is missing)
        for item in dataclasses.fields(kind)
    }
