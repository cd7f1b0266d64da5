"""Values that edges and services share for scoped, paged reading.

`PageRequest.after` is the plain sort key of the last item of the previous page (an id for most nouns, the
checkpoint number as text for checkpoints); services compare it and know nothing of the opaque text that
travels as `cursor`. A service answers a `Page`, whose `next_after` is the key of its last item when more
follow. Keys hold no secret; the cursor is opaque so that its form may change.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.kit.errors import Invalid

MAX_PAGE = 500
DEFAULT_PAGE = 100
_MOST_DIGITS = 18

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """The projects whose resources a principal can see; None means every project.

    Whatever lies outside of it does not exist for the principal: services answer not found.
    """

    project_ids: frozenset[str] | None

    def holds(self, project_id: str) -> bool:
        """Whether resources of the project are visible."""
        return self.project_ids is None or project_id in self.project_ids


EVERYTHING = Scope(None)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How much to read, and after which key; `limit` is 1 to MAX_PAGE."""

    limit: int = DEFAULT_PAGE
    after: str | None = None

    @property
    def after_number(self) -> int | None:
        """The key where it is a number; raises Invalid CURSOR_INVALID for the cursor of another list."""
        if self.after is None:
            return None
        if not self.after.isdecimal() or len(self.after) > _MOST_DIGITS:
            raise _invalid_cursor()
        return int(self.after)


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One page of items in order; `next_after` is None on the last page."""

    items: tuple[T_co, ...]
    next_after: str | None = None


def encode_cursor(after: str | None) -> str | None:
    """The opaque text of a sort key, or None when no page follows."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(after.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str | None) -> str | None:
    """The sort key of an opaque cursor; raises Invalid CURSOR_INVALID for text that no page gave out."""
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise _invalid_cursor() from error


def _invalid_cursor() -> Invalid:
    return Invalid(
        "the cursor is not one that this list gave out",
        code="CURSOR_INVALID",
        remedy="use the nextCursor of the previous page unchanged, or start without a cursor",
    )
