"""The page: whatever a host calls itself is text on it, and nothing is loaded from elsewhere."""

from html.parser import HTMLParser

import pytest

from app.contract.signedreport import opened, sealed, sealed_page
from app.kit.signing import Signer
from app.migration.report.page import html_of
from tests.report.reports import report

HOSTILE = (
    "<script>alert(1)</script>",
    "--><img src=x onerror=alert(1)><!--",
    '"><iframe src="https://evil.test">',
    "</title></style><script src=//evil.test></script>",
    "<!-- go2cloud-seal " + "0" * 128 + " -->\n",
    "a\u202egnp.exe\x1b[2J\x00",
    "&lt;b&gt; &amp;",
)


class Reader(HTMLParser):
    """What a browser makes of a page: elements, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.comments: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_nothing_else(name: str) -> None:
    harmless, found = read(html_of(report("web-1"), "ab")), read(html_of(report(name), "ab"))
    assert found.elements == harmless.elements
    assert found.values == harmless.values
    assert found.comments == []
    shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
    assert found.text.count(shown.replace("\\n", "\\n")) > 10


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_breaks_no_seal(name: str) -> None:
    signer, hostile = Signer.generated(), report(name)
    file = sealed(hostile.model_dump(mode="json", by_alias=True), signer)
    page = sealed_page(html_of(hostile, signer.public.fingerprint), file, signer)
    assert opened(page).report["server"] == hostile.server.model_dump(mode="json", by_alias=True)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    html = html_of(report(), "ab")
    found = read(html)
    assert {"script", "link", "iframe", "object", "a", "base"}.isdisjoint(tag for tag, _ in found.elements)
    assert not any(name.startswith("on") for _, names in found.elements for name in names)
    assert "url(" not in html
    assert "@import" not in html
    assert [value for value in found.values if "//" in value] == []
    assert any(value.startswith("default-src 'none'") for value in found.values)


def test_the_page_says_what_the_report_says() -> None:
    text = read(html_of(report(), "fingerprint-of-the-key")).text
    for expected in ("61.25 s", "Everything was looked at.", "proved", "fingerprint-of-the-key", "frozen"):
        assert expected in text


def test_what_is_lacking_is_said_on_the_page() -> None:
    bare = report(checkpoint=None, disks=(), boots=(), cutover=None, conversion=None, screenshot=None)
    text = read(html_of(bare, "ab")).text
    assert text.count("None.") >= 3
