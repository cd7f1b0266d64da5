"""Every message of the protocol, and random ones of each kind."""

import dataclasses
import inspect
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from app.wire import heartbeat, hold, messages, preflight, verification
from app.wire.jsonform import MAX_INTEGER, AtMost, Hex

KINDS: tuple[type[Any], ...] = tuple(
    kind
    for module in (messages, heartbeat, preflight, verification, hold)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
)


def messages_of(kind: Any) -> st.SearchStrategy[Any]:
    """Random messages of a kind."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{item.name: _values(hints[item.name]) for item in dataclasses.fields(kind)})


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(kind):
        return messages_of(kind)
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _limited(*arguments)
        case origin if origin in (types.UnionType, Union):
            return st.none() | _values(arguments[0])
        case origin if origin is tuple and arguments[-1] is Ellipsis:
            return st.lists(_values(arguments[0]), max_size=2).map(tuple)
        case origin if origin is tuple:
            return st.tuples(*map(_values, arguments))
    return {int: st.integers(0, MAX_INTEGER), str: st.text(max_size=9), bool: st.booleans()}[kind]


def _limited(kind: Any, limit: AtMost | Hex) -> st.SearchStrategy[Any]:
    if isinstance(limit, Hex):
        digits = st.binary(min_size=limit.length, max_size=limit.length).map(bytes.hex)
        if limit.or_more:
            return st.lists(digits, max_size=3).map("".join)
        return digits | st.just("") if limit.or_empty else digits
    return st.integers(0, limit.most) if kind is int else st.text(max_size=min(9, limit.most))
