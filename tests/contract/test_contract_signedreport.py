"""A signed report is believed byte for byte, or not at all; what was altered is named."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.signedreport import ReportRefused, opened, sealed, sealed_page
from app.kit.canonicaljson import canonical
from app.kit.signing import KeyUnreadable, Signer, read_public, read_signer

REPORT: dict[str, Any] = {
    "id": "rep-1",
    "server": {"name": "web-1", "seen": None, "tags/a~b": ["x"]},
    "disks": [{"root": "ab" * 32, "size": 512}, {"root": "cd" * 32, "size": 1.5}],
    "warnings": [],
}
SIGNER = Signer.generated()
FILE = sealed(REPORT, SIGNER)
PAGE = sealed_page("<!doctype html>\n<p>web-1</p>\n", FILE, SIGNER)


def refused(content: bytes) -> ReportRefused:
    with pytest.raises(ReportRefused) as refusal:
        opened(content)
    return refusal.value


def altered(change: Any) -> bytes:
    """The file after a change of the document, written as canonically as the true one."""
    document = json.loads(FILE)
    change(document)
    return canonical(document)


@pytest.mark.parametrize(("content", "is_page"), [(FILE, False), (PAGE, True)])
def test_what_was_signed_is_believed(content: bytes, is_page: bool) -> None:
    found = opened(content)
    assert (found.report, found.key, found.is_page) == (REPORT, SIGNER.public, is_page)


@given(st.sampled_from([FILE, PAGE]), st.data())
def test_every_altered_byte_is_refused(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    refused(content[:at] + bytes([other]) + content[at + 1 :])


@given(st.sampled_from([FILE, PAGE]), st.data())
def test_every_byte_more_or_less_is_refused(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, len(content) - at))
    more = data.draw(st.binary(max_size=4))
    changed = content[:at] + more + content[at + length :]
    if changed != content:
        refused(changed)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for name, each in inner for leaf in leaves(each, (*path, name)))]


@given(
    st.sampled_from([path for path in leaves(json.loads(FILE)) if path]), st.sampled_from(["x", 7, None, []])
)
def test_every_altered_field_is_refused(path: tuple[Any, ...], value: Any) -> None:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    content = altered(change)
    if content != FILE:
        refused(content)


@pytest.mark.parametrize(
    ("path", "value", "fields"),
    [
        (("server", "name"), "web-2", ("/report/server/name",)),
        (("disks", 1, "root"), "ef" * 32, ("/report/disks/1/root",)),
        (("server", "tags/a~b"), ["y"], ("/report/server/tags~1a~0b/0",)),
        (("warnings",), ["none"], ("/report/warnings", "/report/warnings/0")),
        (("id",), "rep-2", ("/report/id",)),
    ],
)
def test_what_was_altered_is_named(path: tuple[Any, ...], value: Any, fields: tuple[str, ...]) -> None:
    def change(document: Any) -> None:
        place = document["report"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    refusal = refused(altered(change))
    assert (refusal.fields, refusal.key) == (fields, SIGNER.public)


def test_what_was_taken_out_is_named() -> None:
    refusal = refused(altered(lambda document: document["report"]["disks"].pop()))
    assert refusal.fields == ("/report/disks/1/root", "/report/disks/1/size")


def test_an_alteration_that_hides_itself_in_the_sums_is_refused_without_a_name() -> None:
    forged = json.loads(sealed(REPORT | {"id": "rep-2"}, Signer.generated()))

    def change(document: Any) -> None:
        document |= {"report": forged["report"], "sums": forged["sums"]}

    refusal = refused(altered(change))
    assert (refusal.fields, "sums" in refusal.detail) == ((), True)


def test_a_key_that_is_exchanged_is_named() -> None:
    foreign = Signer.generated().public

    def change(document: Any) -> None:
        document["key"]["public"] = foreign.raw.hex()

    assert refused(altered(change)).fields == ("/key/fingerprint",)


def test_a_report_of_a_foreign_key_says_that_it_is_foreign() -> None:
    assert opened(sealed(REPORT, Signer.generated())).key != SIGNER.public


def test_reformatting_is_refused_and_said_to_be_just_that() -> None:
    for content in (FILE + b"\n", json.dumps(json.loads(FILE), indent=2).encode()):
        assert "reformatted" in refused(content).detail


def test_a_page_with_another_text_is_refused_although_its_report_is_whole() -> None:
    assert "page was altered" in refused(PAGE.replace(b"<p>web-1", b"<p>web-2")).detail
    other = sealed(REPORT, Signer.generated())
    mixed = PAGE[: PAGE.index(b"<!-- go2cloud-report")]
    assert "page was altered" in refused(sealed_page(mixed.decode(), other, SIGNER)).detail


@given(st.binary(max_size=200))
def test_anything_else_is_refused(content: bytes) -> None:
    refused(content)
    refused(b'{"format":"go2cloud-report/1"' + content)


@pytest.mark.parametrize("member", ["format", "report", "sums", "key", "signature"])
def test_a_lacking_member_is_named(member: str) -> None:
    assert refused(altered(lambda document: document.pop(member))).fields == (f"/{member}",)


def test_keys_go_through_pem_and_other_kinds_are_refused() -> None:
    assert read_signer(SIGNER.pem.encode()).public == SIGNER.public
    assert read_public(SIGNER.public.pem.encode()) == SIGNER.public
    for read in (read_signer, read_public):
        with pytest.raises(KeyUnreadable):
            read(b"-----BEGIN NOTHING-----")
    assert deepcopy(REPORT) == opened(FILE).report
