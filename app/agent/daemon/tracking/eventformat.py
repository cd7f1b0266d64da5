"""What the running kernel says of its trace records: where an event's fields lie, and how a page is headed.

The files `events/<system>/<event>/format`, `events/header_page` and `events/header_event` of tracefs
(Documentation/trace/events.rst). Fields differ between kernels: `rwbs` has 8 bytes in 6.1 and 10 in 6.18.
"""

import re
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.errors import TrackingError

_FIELD: Final = re.compile(
    r"field:\s*(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);\s*signed:(?P<signed>[01]);"
)
_NAME: Final = re.compile(r"(\w+)\s*(?:\[[^]]*\])?$")
_RECORD: Final = re.compile(
    r"type_len\s*:\s*5 bits\s+time_delta\s*:\s*27 bits\s+array\s*:\s*32 bits\s+padding\s*:\s*type == 29\s+"
    r"time_extend\s*:\s*type == 30\s+(?:time_stamp\s*:\s*type == 31\s+)?data max type_len\s*==\s*28"
)


@dataclass(frozen=True)
class Field:
    """A field: offset and size in bytes from the start of what it belongs to."""

    name: str
    offset: int
    size: int
    is_signed: bool


@dataclass(frozen=True)
class EventFormat:
    """An event: the number that its records begin with, and its fields."""

    name: str
    number: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The field of this name. Raises TrackingError."""
        return _find(self.fields, name, f"the event {self.name}")


@dataclass(frozen=True)
class PageFormat:
    """A page of the ring buffer: where its commit word and its records lie, and its whole size in bytes."""

    commit_at: int
    commit_size: int
    data_at: int
    size: int


def parse_event_format(text: str) -> EventFormat:
    """Read an event's `format` file. Raises TrackingError."""
    name = re.search(r"^name: (\S+)$", text, re.MULTILINE)
    number = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
    if not name or not number:
        raise _unknown("an event's format has no name or no ID")
    return EventFormat(name[1], int(number[1]), _fields(text))


def parse_page_format(header_page: str, header_event: str) -> PageFormat:
    """Read `header_page`; refuse records of another form than `ringbuffer` knows. Raises TrackingError."""
    if not _RECORD.search(header_event):
        raise _unknown("events/header_event describes records of an unknown form")
    fields = _fields(header_page)
    commit, data = (_find(fields, name, "events/header_page") for name in ("commit", "data"))
    if commit.size not in (4, 8) or data.offset % 4:
        raise _unknown("events/header_page describes pages of an unknown form")
    return PageFormat(commit.offset, commit.size, data.offset, data.offset + data.size)


def _fields(text: str) -> tuple[Field, ...]:
    return tuple(
        Field(name[1], int(found["offset"]), int(found["size"]), found["signed"] == "1")
        for found in _FIELD.finditer(text)
        if (name := _NAME.search(found["declaration"].strip()))
    )


def _find(fields: tuple[Field, ...], name: str, what: str) -> Field:
    for field in fields:
        if field.name == name:
            return field
    raise _unknown(f"{what} has no field {name}")


def _unknown(detail: str) -> TrackingError:
    return TrackingError(f"this kernel's trace format is not understood: {detail}", code="TRACKING_FORMAT")
