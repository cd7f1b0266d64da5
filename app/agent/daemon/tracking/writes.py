"""What a completed block request or bio says: which sectors of which disk may have changed.

Everything that is not a read counts, failed writes too. `rwbs` is the kernel's text for the kind of request
(blk_fill_rwbs): an F in front is a preflush, then W write, D discard, N write zeroes and others, Z zone
commands, R read. A pure flush has no sectors. Commands that a program sends past the block layer (SG_IO, NVMe
passthrough) name no sectors of the disk: what such a command writes is not seen.
"""

import struct
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.eventformat import EventFormat, Field

_CODES: Final = {4: "I", 8: "Q"}
_READ: Final = ord("R")
_FLUSH: Final = ord("F")
SECTOR: Final = 512


class Write(NamedTuple):
    """`device` is the kernel's number of a disk (major << 20 | minor); sectors have 512 bytes."""

    device: int
    sector: int
    sectors: int


class WriteDecoder:
    """Reads the payloads of `block_rq_complete` and `block_bio_complete`."""

    def __init__(self, formats: Iterable[EventFormat]) -> None:
        self._structs = {
            form.number.to_bytes(2, sys.byteorder): struct.Struct(_layout(form)) for form in formats
        }

    def writes(self, page: bytes, records: list[tuple[int, int]]) -> list[Write]:
        """The writes among the payloads at these places of a page. Raises TrackingError."""
        found = []
        structs = self._structs
        for at, end in records:
            known = structs.get(page[at : at + 2])
            if known is None:
                continue
            if at + known.size > end:
                raise TrackingError("a trace event is shorter than its format says", code="TRACKING_FORMAT")
            device, sector, sectors, kind, then = known.unpack_from(page, at)
            if sectors and kind != _READ and not (kind == _FLUSH and then == _READ):
                found.append(Write(device, sector, sectors))
        return found


def _layout(form: EventFormat) -> str:
    """The struct of dev, sector, nr_sector and the first two bytes of rwbs."""
    layout, at = "=", 0
    for field in (form.field(name) for name in ("dev", "sector", "nr_sector", "rwbs")):
        layout += f"{_gap(form, at, field)}x{'BB' if field.name == 'rwbs' else _code(form, field)}"
        at = field.offset + field.size
    return layout


def _gap(form: EventFormat, at: int, field: Field) -> int:
    if field.offset < at:
        raise TrackingError(f"the fields of {form.name} come in an unknown order", code="TRACKING_FORMAT")
    return field.offset - at


def _code(form: EventFormat, field: Field) -> str:
    if field.size not in _CODES:
        raise TrackingError(f"{field.name} of {form.name} has {field.size} bytes", code="TRACKING_FORMAT")
    return _CODES[field.size]
