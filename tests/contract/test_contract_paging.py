"""Cursors: opaque, and never believed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.paging import EVERYTHING, PageRequest, Scope, decode_cursor, encode_cursor
from app.kit.errors import Invalid


@given(st.text(max_size=200))
def test_a_cursor_comes_back_as_its_key(after: str) -> None:
    cursor = encode_cursor(after)
    assert cursor is not None
    assert decode_cursor(cursor) == after


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None) is None
    assert encode_cursor(None) is None


@given(st.text(max_size=50))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert isinstance(decode_cursor(text), str)


@pytest.mark.parametrize("after", ["x", "", "-1", "1.5", "9" * 19, "½"])
def test_a_key_that_is_no_number_is_refused_where_one_is_needed(after: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        _ = PageRequest(after=after).after_number


def test_a_key_that_is_a_number() -> None:
    assert PageRequest(after="12").after_number == 12
    assert PageRequest().after_number is None


def test_a_scope_holds_its_projects_only() -> None:
    assert EVERYTHING.holds("prj-a")
    assert Scope(frozenset({"prj-a"})).holds("prj-a")
    assert not Scope(frozenset({"prj-a"})).holds("prj-b")
    assert not Scope(frozenset()).holds("prj-a")
