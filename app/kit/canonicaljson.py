"""Canonical JSON (RFC 8785, JCS): of one value there is one text, so that a signature of it can be checked.

Members stand in the order of their names as UTF-16 code units, nothing is put between tokens, texts escape as
little as they can, and numbers are written as ECMAScript writes them (Number::toString, ECMA-262 6.1.6.1.20).
"""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.kit.errors import Json

MOST_INTEGER: Final = (1 << 53) - 1
"""Up to here every integer is a double."""
_MOST_PLAIN: Final = 21
_MOST_DIGITS: Final = 10**_MOST_PLAIN
_LEAST_PLAIN: Final = -6


class NotJson(ValueError):
    """A text that is no JSON, or a value that has no canonical form; the message says what and where."""


def canonical(value: Json) -> bytes:
    """The canonical text of a value, in UTF-8.

    Raises NotJson for numbers that are not finite, for integers that no double is, and for half a surrogate.
    """
    try:
        return _text(value).encode()
    except RecursionError as error:
        raise NotJson("the value is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise NotJson("a text has a surrogate without its other half, which is no character") from error


def parsed(text: bytes) -> Json:
    """The value of a JSON text in UTF-8. Raises NotJson, also for a member that stands twice."""
    try:
        value: Json = json.loads(text.decode(), object_pairs_hook=_members, parse_constant=_no_number)
    except (UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"this is no JSON: {error}") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"this is no JSON: {error.msg} at character {error.pos}") from error
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(f"this is no JSON: {error}") from error
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise NotJson(f"the member {name[:64]!r} stands twice in one object")
        found[name] = value
    return found


def _no_number(word: str) -> Json:
    raise NotJson(f"{word} is no number of JSON")


def _text(value: Json) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise NotJson(f"a {type(value).__name__} has no JSON form")


def _integer(value: int) -> str:
    """Numbers are doubles to most readers: larger ones pass where these read what stands there."""
    if abs(value) > MOST_INTEGER and (abs(value) > _MOST_DIGITS or _number(float(value)) != str(value)):
        raise NotJson("an integer has more than 53 bits")
    return str(value)


def _number(value: float) -> str:
    """The shortest decimal digits that name this double, laid out as ECMAScript does."""
    if not math.isfinite(value):
        raise NotJson(f"{value} is no number of JSON")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), "it is finite"
    text = "".join(map(str, digits))
    return "-" * sign + _laid_out(text, len(text) + exponent)


def _laid_out(digits: str, point: int) -> str:
    """`digits` with the decimal point after the first `point` of them."""
    if len(digits) <= point <= _MOST_PLAIN:
        return digits.ljust(point, "0")
    if 0 < point <= _MOST_PLAIN:
        return f"{digits[:point]}.{digits[point:]}"
    if _LEAST_PLAIN < point <= 0:
        return "0." + "0" * -point + digits
    power = point - 1
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{'+' if power > 0 else '-'}{abs(power)}"
