"""Pages of the kernel's trace ring buffer, as `per_cpu/cpuN/trace_pipe_raw` hands them out.

Source: kernel/trace/ring_buffer.c and include/linux/ring_buffer.h,
Documentation/trace/ring-buffer-design.rst.

A page begins with a u64 timestamp and the commit word (the kernel's `long`; `eventformat` says where). Its
low bits are the bytes of records behind the header. Bit 31: events were lost before this page; bit 30: how
many is stored as a `long` behind the records. In the machine's byte order.

Records are multiples of 4 bytes and begin with a u32, type_len in 5 bits and time_delta in 27. type_len is
the low end on little-endian machines, the high end on big-endian ones.

    1 … 28   data: 4 × type_len bytes of payload follow
    0        data: a u32 follows, the size of itself and the payload
    29       padding. time_delta 0: the rest of the page. Otherwise a discarded event: a u32 follows, the size
             of itself and what to pass over
    30       time extend: a u32 follows
    31       absolute time stamp: a u32 follows

A payload begins with the u16 number of its event.
"""

import sys
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.eventformat import PageFormat

_LENGTH: Final = (1 << 27) - 1
_MISSED: Final = 1 << 31
_DATA_MAX: Final = 28
_PADDING: Final = 29
_TIMES: Final = (30, 31)
_IS_LITTLE: Final = sys.byteorder == "little"


@dataclass(frozen=True)
class Page:
    """`records` are the (start, end) of payloads in the page's bytes; `missed`: events before it are lost."""

    records: list[tuple[int, int]]
    missed: bool


def parse_page(page: bytes, form: PageFormat) -> Page:
    """Find the payloads of a page. Raises TrackingError for what is no page."""
    word = int.from_bytes(page[form.commit_at : form.commit_at + form.commit_size], sys.byteorder)
    end = form.data_at + (word & _LENGTH)
    if end > len(page) or end % 4:
        raise _garbled(f"{word & _LENGTH} bytes of records in a page of {len(page)}")
    return Page(_records(page, form.data_at, end), bool(word & _MISSED))


def _records(page: bytes, at: int, end: int) -> list[tuple[int, int]]:
    words = memoryview(page).cast("I")
    records = []
    try:
        while at < end:
            word = words[at >> 2]
            kind = word & 31 if _IS_LITTLE else word >> 27
            if 0 < kind <= _DATA_MAX:
                start = at + 4
                at = start + (kind << 2)
                records.append((start, at))
            elif kind in _TIMES:
                at += 8
            elif kind == _PADDING and word == (_PADDING if _IS_LITTLE else _PADDING << 27):
                break
            else:
                start = at + 8
                at += 4 + (words[at + 4 >> 2] + 3 & ~3)
                if kind == 0:
                    records.append((start, at))
                if at < start:
                    raise _garbled(f"a record of {at - start + 4} bytes")
    except IndexError as error:
        raise _garbled(f"a record's head at byte {at}") from error
    if at > end:
        raise _garbled(f"a record reaches byte {at} of {end}")
    return records


def _garbled(detail: str) -> TrackingError:
    return TrackingError(f"a page of the trace buffer is not understood: {detail}", code="TRACKING_FORMAT")
