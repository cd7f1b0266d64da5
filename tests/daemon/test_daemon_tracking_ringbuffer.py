"""Pages of the trace ring buffer, built byte by byte, and the kernel's descriptions of them."""

import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.eventformat import (
    PageFormat,
    parse_event_format,
    parse_page_format,
)
from app.agent.daemon.tracking.intake import parse_cpus
from app.agent.daemon.tracking.ringbuffer import parse_page
from app.agent.daemon.tracking.writes import Write, WriteDecoder

FORM = PageFormat(commit_at=8, commit_size=8, data_at=16, size=4096)
MISSED, STORED = 1 << 31, 1 << 30

HEADER_PAGE = """\
	field: u64 timestamp;	offset:0;	size:8;	signed:0;
	field: local_t commit;	offset:8;	size:8;	signed:1;
	field: int overwrite;	offset:8;	size:1;	signed:1;
	field: char data;	offset:16;	size:4080;	signed:0;
"""
HEADER_EVENT = """\
# compressed entry header
	type_len    :    5 bits
	time_delta  :   27 bits
	array       :   32 bits

	padding     : type == 29
	time_extend : type == 30
	time_stamp : type == 31
	data max type_len  == 28
"""
COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:dev_t dev;	offset:8;	size:4;	signed:0;
	field:sector_t sector;	offset:16;	size:8;	signed:0;
"""
RQ_6_18 = f"""\
name: block_rq_complete
ID: 2107
format:
{COMMON}\
	field:unsigned int nr_sector;	offset:24;	size:4;	signed:0;
	field:int error;	offset:28;	size:4;	signed:1;
	field:unsigned short ioprio;	offset:32;	size:2;	signed:0;
	field:char rwbs[10];	offset:34;	size:10;	signed:0;
	field:__data_loc char[] cmd;	offset:44;	size:4;	signed:0;

print fmt: "%d,%d %s", ((unsigned int) ((REC->dev) >> 20))
"""
BIO_6_1 = f"""\
name: block_bio_complete
ID: 1203
format:
{COMMON}\
	field:unsigned nr_sector;	offset:24;	size:4;	signed:0;
	field:int error;	offset:28;	size:4;	signed:1;
	field:char rwbs[8];	offset:32;	size:8;	signed:0;

print fmt: "%d,%d %s", REC->rwbs
"""


def head(kind: int, delta: int = 0) -> bytes:
    """The first word of a record."""
    return struct.pack("=I", delta << 5 | kind if sys.byteorder == "little" else kind << 27 | delta)


def page(*records: bytes, flags: int = 0, behind: bytes = b"") -> bytes:
    """A page of these records."""
    data = b"".join(records)
    return (struct.pack("=QQ", 1234, len(data) | flags) + data + behind).ljust(4096, b"\0")


def data(payload: bytes) -> bytes:
    """A record with this payload, padded as the kernel does."""
    payload += bytes(-len(payload) % 4)
    if len(payload) <= 28 * 4:
        return head(len(payload) // 4, 77) + payload
    return head(0, 77) + struct.pack("=I", len(payload) + 4) + payload


def payloads(raw: bytes) -> list[bytes]:
    return [raw[start:end] for start, end in parse_page(raw, FORM).records]


def test_data_is_found_between_times_and_discarded_events() -> None:
    discarded = head(29, 5) + struct.pack("=I", 4 + 24) + b"x" * 24
    raw = page(
        data(b"first..."),
        head(30, 9) + bytes(4),
        discarded,
        data(b"long" * 50),
        head(31, 1) + bytes(4),
        data(b"last"),
        head(29) + b"rest",
    )
    assert payloads(raw) == [b"first...", b"long" * 50, b"last"]
    assert not parse_page(raw, FORM).missed


def test_an_empty_page_has_no_records() -> None:
    assert payloads(page()) == []
    assert payloads(bytes(4096)) == []


def test_a_page_says_that_events_were_lost_before_it() -> None:
    assert parse_page(page(data(b"data"), flags=MISSED), FORM).missed
    counted = page(data(b"data"), flags=MISSED | STORED, behind=struct.pack("=Q", 17))
    assert parse_page(counted, FORM).missed
    assert payloads(counted) == [b"data"]


@pytest.mark.parametrize(
    "raw",
    [
        page(data(b"data"), flags=1),
        struct.pack("=QQ", 0, 5000).ljust(4096, b"\0"),
        page(head(28, 1) + b"short"),
        page(data(b"x" * 4068), head(0, 1)),
    ],
)
def test_what_is_no_page_is_refused(raw: bytes) -> None:
    with pytest.raises(TrackingError, match="not understood"):
        parse_page(raw, FORM)


@given(st.lists(st.binary(min_size=1, max_size=200).map(lambda raw: raw + bytes(-len(raw) % 4)), max_size=15))
def test_every_payload_comes_out_as_it_went_in(pieces: list[bytes]) -> None:
    assert payloads(page(*map(data, pieces))) == pieces


@given(st.binary(max_size=4096))
def test_garbage_ends_in_records_within_the_page_or_a_refusal(raw: bytes) -> None:
    raw = raw.ljust(4096, b"\0")
    try:
        found = parse_page(raw, FORM).records
    except TrackingError:
        return
    assert all(16 <= start <= end <= 4096 for start, end in found)


def test_the_kernels_descriptions_are_read() -> None:
    assert parse_page_format(HEADER_PAGE, HEADER_EVENT) == FORM
    form = parse_event_format(RQ_6_18)
    assert (form.name, form.number) == ("block_rq_complete", 2107)
    assert (form.field("rwbs").offset, form.field("rwbs").size) == (34, 10)
    assert form.field("error").is_signed
    assert form.field("cmd").offset == 44


@pytest.mark.parametrize(
    "call",
    [
        lambda: parse_event_format("format:"),
        lambda: parse_event_format(RQ_6_18).field("nothing"),
        lambda: parse_page_format(HEADER_PAGE, HEADER_EVENT.replace("27 bits", "28 bits")),
        lambda: parse_page_format("", HEADER_EVENT),
        lambda: WriteDecoder([parse_event_format(RQ_6_18.replace("dev;	offset:8", "dev;	offset:60"))]),
        lambda: WriteDecoder([parse_event_format(RQ_6_18.replace("16;	size:8", "16;	size:2"))]),
    ],
)
def test_an_unknown_form_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(TrackingError):
        call()


def rq(rwbs: bytes, sector: int = 80, sectors: int = 8, number: int = 2107) -> bytes:
    head = struct.pack("=HBBiIxxxxQIiH", number, 0, 0, 1, 7 << 20, sector, sectors, -5, 0)
    return data(head + rwbs.ljust(10, b"\0") + struct.pack("=I", 1 << 16 | 48) + b"\0")


def bio(rwbs: bytes) -> bytes:
    return data(
        struct.pack("=HBBiIxxxxQIi", 1203, 0, 0, 1, 9 << 20 | 3, 1 << 40, 16, 0) + rwbs.ljust(8, b"\0")
    )


def decoded(*records: bytes) -> list[Write]:
    decoder = WriteDecoder([parse_event_format(RQ_6_18), parse_event_format(BIO_6_1)])
    raw = page(*records)
    return decoder.writes(raw, parse_page(raw, FORM).records)


def test_everything_that_is_not_a_read_is_a_write() -> None:
    kinds = [b"W", b"WS", b"WFS", b"FW", b"FWFSM", b"D", b"DE", b"N", b"NS", b"ZA", b"ZR"]
    assert decoded(*map(rq, kinds)) == [Write(7 << 20, 80, 8)] * len(kinds)
    assert decoded(rq(b"R"), rq(b"RA"), rq(b"RSM"), rq(b"FRS")) == []
    assert decoded(rq(b"FF", sectors=0), rq(b"WS", sectors=0)) == []


def test_both_events_are_read_by_their_own_format_and_others_passed_over() -> None:
    assert decoded(bio(b"WS"), rq(b"D"), rq(b"W", number=99), bio(b"R")) == [
        Write(9 << 20 | 3, 1 << 40, 16),
        Write(7 << 20, 80, 8),
    ]


def test_an_event_that_was_cut_is_refused() -> None:
    with pytest.raises(TrackingError, match="shorter"):
        decoded(data(struct.pack("=HHI", 2107, 0, 0)))


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", {0}), ("0-3", {0, 1, 2, 3}), ("0-1,4,6-7", {0, 1, 4, 6, 7}), ("", set())]
)
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert parse_cpus(text) == cpus
