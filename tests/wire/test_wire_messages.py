"""Messages come back as they were sent, and what does not have the form is refused by the field's name."""

import dataclasses
import json
import random
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.wire import messages
from app.wire.errors import MessageError
from app.wire.jsonform import MAX_INTEGER, AtMost, Hex, build, decode, encode
from app.wire.messages import Commit, Disk, DiskCommit, Enroll, LeafChange, Open, Poll, PutResult
from tests.wire.message_strategies import KINDS, messages_of

HASH = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Inner:
    """Something nested."""

    number: int
    text: str = "default"


@dataclass(frozen=True)
class Outer:
    """One field of each form."""

    flag: bool
    inner: Inner
    perhaps: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, int] = (1, 2)
    short: Annotated[str, AtMost(3)] = ""
    small: Annotated[int, AtMost(9)] = 0
    name: Annotated[str, Hex(2)] = "0a0b"
    or_none: Annotated[str, Hex(2, or_empty=True)] = ""
    or_more: Annotated[str, Hex(2, or_more=True)] = ""


GOOD: dict[str, Any] = {"flag": True, "inner": {"number": 7}}


def outer(**changes: Any) -> bytes:
    """JSON of an Outer with these fields put in."""
    return json.dumps(GOOD | changes).encode()


def test_every_message_of_the_module_is_tested() -> None:
    assert {Open, Commit, DiskCommit, Poll, Enroll, LeafChange} <= set(KINDS)
    assert len(KINDS) >= 24


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_message_comes_back_as_it_was_sent(kind: Any, data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    assert decode(kind, encode(message)) == message
    assert build(kind, dataclasses.asdict(message)) == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_field_that_is_missing_or_too_many_is_named(kind: Any, data: st.DataObject) -> None:
    value = dataclasses.asdict(data.draw(messages_of(kind)))
    with pytest.raises(MessageError, match=rf"^{kind.__name__}\.surplus: unknown field"):
        build(kind, value | {"surplus": 1})
    for item in dataclasses.fields(kind):
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            with pytest.raises(MessageError, match=rf"^{kind.__name__}\.{item.name}: missing"):
                build(kind, {name: each for name, each in value.items() if name != item.name})


def test_defaults_stand_where_nothing_was_said() -> None:
    assert decode(Outer, outer()) == Outer(True, Inner(7))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flag": 1}, r"Outer\.flag: bool expected"),
        ({"inner": {"number": True}}, r"Outer\.inner\.number: int expected"),
        ({"inner": {"number": 1.0}}, r"Outer\.inner\.number: int expected"),
        ({"inner": {"number": "1"}}, r"Outer\.inner\.number: int expected"),
        ({"inner": {"number": None}}, r"Outer\.inner\.number: int expected"),
        ({"inner": {"number": -1}}, r"Outer\.inner\.number: an integer from 0"),
        ({"inner": {"number": MAX_INTEGER + 1}}, r"Outer\.inner\.number: an integer from 0"),
        ({"inner": {"number": 1, "text": 2}}, r"Outer\.inner\.text: str expected"),
        ({"inner": {"number": 1, "text": "\ud800"}}, r"Outer\.inner\.text: a surrogate"),
        ({"inner": {"number": 1, "more": 2}}, r"Outer\.inner\.more: unknown field"),
        ({"inner": {}}, r"Outer\.inner\.number: missing"),
        ({"inner": None}, r"Outer\.inner: an object expected"),
        ({"inner": [1]}, r"Outer\.inner: an object expected"),
        ({"perhaps": {}}, r"Outer\.perhaps\.number: missing"),
        ({"perhaps": "no"}, r"Outer\.perhaps: an object expected"),
        ({"many": {}}, r"Outer\.many: a list expected"),
        ({"many": "ab"}, r"Outer\.many: a list expected"),
        ({"many": [{"number": 1}, {"number": "x"}]}, r"Outer\.many\[1\]\.number: int expected"),
        ({"pair": [1]}, r"Outer\.pair: 2 items expected"),
        ({"pair": [1, 2, 3]}, r"Outer\.pair: 2 items expected"),
        ({"pair": [1, "x"]}, r"Outer\.pair\[1\]: int expected"),
        ({"short": "four"}, r"Outer\.short: at most 3 characters"),
        ({"short": 3}, r"Outer\.short: str expected"),
        ({"small": 10}, r"Outer\.small: at most 9 expected"),
        ({"name": ""}, r"Outer\.name: 4 lower-case hexadecimal"),
        ({"name": "0A0B"}, r"Outer\.name: 4 lower-case hexadecimal"),
        ({"name": "0a 0"}, r"Outer\.name: 4 lower-case hexadecimal"),
        ({"name": "0a0b\n"}, r"Outer\.name: 4 lower-case hexadecimal"),
        ({"or_none": "0a"}, r"Outer\.or_none: 4 lower-case hexadecimal"),
        ({"or_more": "0a0b0c"}, r"Outer\.or_more: any number of times 4 lower-case hexadecimal"),
        ({"or_more": "0a0b0C0d"}, r"Outer\.or_more: any number of times 4 lower-case hexadecimal"),
    ],
)
def test_a_field_of_another_form_is_refused_by_its_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MessageError, match=f"^{says}"):
        decode(Outer, outer(**changes))


@pytest.mark.parametrize("text", ["", "abc", "äöü", "🦉🦉🦉", "a\0b"])
def test_a_text_is_measured_in_characters(text: str) -> None:
    assert decode(Outer, outer(short=text)).short == text


def test_limits_let_pass_what_is_within_them() -> None:
    made = decode(Outer, outer(small=9, name="ffff", or_none="0a0b", perhaps=None))
    assert (made.small, made.name, made.or_none, made.perhaps) == (9, "ffff", "0a0b", None)
    assert [decode(Outer, outer(or_more=text)).or_more for text in ("", "0a0b", "0a0b0c0d")] == [
        "",
        "0a0b",
        "0a0b0c0d",
    ]


@given(st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), max_size=9))
def test_names_of_chunks_come_back_by_their_digests(names: dict[bytes, bytes]) -> None:
    made = PutResult(1, 2, 3, 4, named=PutResult.joined(names))
    assert decode(PutResult, encode(made)).names == names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b"{'flag': true}",
        b'{"flag": true} x',
        b"\xff\xfe{\x00}\x00",
        '{"flag": true}'.encode("utf-16"),
        b'{"flag": NaN}',
        b'{"flag": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"flag": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b'"text"',
    ],
    ids=range(15),
)
def test_what_is_not_such_a_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(Outer, data)


def test_a_field_that_stands_twice_is_refused() -> None:
    with pytest.raises(MessageError, match="'number' stands twice"):
        decode(Outer, b'{"flag": true, "inner": {"number": 1, "number": 2}}')


def test_an_error_does_not_repeat_a_name_of_megabytes() -> None:
    with pytest.raises(MessageError) as refusal:
        decode(Outer, outer(**{"x" * 1_000_000: 1}))
    assert len(str(refusal.value)) < 200


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["flag", "inner", "many", "pair", "number"]), inner)
        ),
    )
)
def test_any_json_is_accepted_or_refused_by_name(value: Any) -> None:
    try:
        made = build(Outer, value)
    except MessageError:
        return
    assert isinstance(made, Outer)


def test_a_commit_of_many_leaves_is_read_in_reasonable_time() -> None:
    source = random.Random(1)
    changed = tuple(LeafChange(index, source.randbytes(32).hex()) for index in range(20_000))
    disk = DiskCommit("dsk-1", "", HASH, 1 << 40, "quiet", changed)
    commit = Commit(1, "", "2026-01-01T00:00:00+00:00", "t", "rescan", "quiet", (disk,))
    assert decode(Commit, encode(commit)) == commit


def test_what_the_database_cannot_hold_never_gets_there() -> None:
    disk = Disk("k" * 255, "p" * 1024, MAX_INTEGER, 4096)
    assert decode(Disk, encode(disk)) == disk
    for changed in (
        dataclasses.replace(disk, key="k" * 256),
        dataclasses.replace(disk, path="p" * 1025),
        dataclasses.replace(disk, size=MAX_INTEGER + 1),
        dataclasses.replace(disk, sector_size=1 << 31),
    ):
        with pytest.raises(MessageError):
            decode(Disk, encode(changed))


@pytest.mark.parametrize("seconds", [-1, messages.MAX_WAIT_SECONDS + 1, 10**30])
def test_nobody_can_ask_for_a_wait_without_end(seconds: int) -> None:
    with pytest.raises(MessageError, match="wait_seconds"):
        decode(Poll, encode(Poll("instance", "idle", seconds)))
