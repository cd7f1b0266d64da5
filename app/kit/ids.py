"""Identifiers of everything that has a row or a URL.

An id is a three-letter noun, a hyphen and a UUIDv7 in lower-case Crockford base32: ``srv-06bqk…``, 30
characters. The UUID starts with its time in milliseconds, so ids of one kind sort by the time of their
making, also as text (the alphabet is in ASCII order). ``i``, ``l``, ``o`` and ``u`` do not occur.
"""

import re

import uuid_utils

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
"""Characters after the hyphen: 128 bits, five a character."""

_PREFIX = re.compile(r"[a-z]{3}")
_ID = re.compile(rf"[a-z]{{3}}-[{ALPHABET}]{{{LENGTH}}}")


def new_id(prefix: str) -> str:
    """A new id of the noun `prefix` (three lower-case letters, ``srv``); raises ValueError for any other."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not an id prefix: use three lower-case letters")
    return f"{prefix}-{_base32(uuid_utils.uuid7().int)}"


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an id of the noun `prefix`."""
    return text.startswith(f"{prefix}-") and _ID.fullmatch(text) is not None


def _base32(value: int) -> str:
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
