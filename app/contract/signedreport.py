"""The file format of signed reports: how one is sealed, and how one is opened and believed.

A report is an object of JSON with exactly these members; the file is its canonical form (RFC 8785) and not a
byte more:

    format       "go2cloud-report/1"
    report       the report itself
    sums         for each part of the report (a JSON pointer, RFC 6901) the first 8 bytes of the SHA-256 of
                 its canonical form, in hex: they say which part was altered, and prove nothing by themselves
    key          {"algorithm": "Ed25519", "fingerprint": …, "public": 32 bytes in hex}
    signature    64 bytes in hex, of the canonical form of all members but this one

A page is HTML. Before its last line stands a comment with the report's file in Base64; its last line is a
comment with the signature, by the same key, of PAGE_PREFIX and all bytes of the page before that line. So
what is read on the page is signed as well, whichever version of the program drew it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.kit.canonicaljson import NotJson, canonical, parsed
from app.kit.errors import Json
from app.kit.signing import ALGORITHM, KEY_BYTES, SIGNATURE_BYTES, PublicKey, Signer

FORMAT: Final = "go2cloud-report/1"
PAGE_PREFIX: Final = b"go2cloud-report-page/1\n"
MOST_BYTES: Final = 256 * 1024 * 1024
_MEMBERS: Final = {"format", "report", "sums", "key", "signature"}
_SUM_BYTES: Final = 8
_SUM_DEPTH: Final = 3
_CARRIED: Final = re.compile(rb"<!-- go2cloud-report ([A-Za-z0-9+/=]+) -->\n\Z")
_SEAL: Final = re.compile(rb"<!-- go2cloud-seal ([0-9a-f]{128}) -->\n\Z")


class ReportRefused(ValueError):
    """A file that is no report as it was signed; `fields` are JSON pointers of what was altered, if known."""

    def __init__(self, detail: str, fields: tuple[str, ...] = (), key: PublicKey | None = None) -> None:
        """`key` is the one that the file says it was signed with."""
        super().__init__(detail)
        self.detail = detail
        self.fields = fields
        self.key = key


@dataclass(frozen=True)
class OpenedReport:
    """A report that is what `key` signed; whose key that is, is another question."""

    report: Mapping[str, Json]
    key: PublicKey
    is_page: bool


def sealed(report: Mapping[str, Json], signer: Signer) -> bytes:
    """The file of a report. Raises NotJson for values that have no canonical form."""
    public = signer.public
    document: dict[str, Json] = {
        "format": FORMAT,
        "report": report,
        "sums": dict(_sums(report)),
        "key": {"algorithm": ALGORITHM, "fingerprint": public.fingerprint, "public": public.raw.hex()},
    }
    document["signature"] = signer.sign(canonical(document)).hex()
    return canonical(document)


def sealed_page(html: str, file: bytes, signer: Signer) -> bytes:
    """A page (whole, ending with a line end) that carries the report's file, signed."""
    carried = base64.b64encode(file)
    page = html.encode() + b"<!-- go2cloud-report " + carried + b" -->\n"
    return page + b"<!-- go2cloud-seal " + signer.sign(PAGE_PREFIX + page).hex().encode() + b" -->\n"


def opened(content: bytes) -> OpenedReport:
    """The report of a file, JSON or HTML, if it is byte for byte what was signed. Raises ReportRefused."""
    if content.lstrip()[:1] == b"{":
        return _opened_document(content)
    return _opened_page(content)


def _opened_page(content: bytes) -> OpenedReport:
    seal = _SEAL.search(content)
    page = content[: seal.start()] if seal else content
    carried = _CARRIED.search(page)
    if seal is None or carried is None:
        what = "no report" if carried is None else "no seal in its last line"
        raise ReportRefused(f"the file is no report of go2cloud, in JSON or HTML: it has {what}")
    found = _opened_document(_decoded(carried[1]))
    if not found.key.verifies(bytes.fromhex(seal[1].decode()), PAGE_PREFIX + page):
        raise ReportRefused(
            "the page was altered; the report that it carries was not, so what is read on the page is wrong",
            key=found.key,
        )
    return OpenedReport(found.report, found.key, is_page=True)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ReportRefused(f"the report that the page carries was altered: {error}") from error


def _opened_document(content: bytes) -> OpenedReport:
    document = _document(content)
    report, key, signature = _report(document), _key(document), _signature(document)
    signed = canonical({name: value for name, value in document.items() if name != "signature"})
    if not key.verifies(signature, signed):
        raise _altered(report, document, key)
    if canonical(document) != content:
        raise ReportRefused(
            "what the file says is what was signed, but it was reformatted: it is not the file as issued",
            key=key,
        )
    return OpenedReport(report, key, is_page=False)


def _document(content: bytes) -> Mapping[str, Json]:
    try:
        document = parsed(content)
        canonical(document)
    except NotJson as error:
        raise ReportRefused(str(error)) from error
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ReportRefused(f"the file is no report of the format {FORMAT}", ("/format",))
    if document.keys() != _MEMBERS:
        wrong = sorted(document.keys() ^ _MEMBERS)
        raise ReportRefused("members are lacking, or too many", tuple(f"/{_escaped(each)}" for each in wrong))
    return document


def _report(document: Mapping[str, Json]) -> Mapping[str, Json]:
    report = document["report"]
    if not isinstance(report, Mapping):
        raise ReportRefused("the report is no object", ("/report",))
    return report


def _key(document: Mapping[str, Json]) -> PublicKey:
    stated = document["key"]
    members = stated if isinstance(stated, Mapping) else {}
    raw = _hex(members.get("public"), KEY_BYTES, "/key/public")
    key = PublicKey(raw)
    expected = {"algorithm": ALGORITHM, "fingerprint": key.fingerprint, "public": raw.hex()}
    wrong = sorted(
        name for name in expected.keys() | members.keys() if members.get(name) != expected.get(name)
    )
    if wrong:
        raise ReportRefused(
            "the key is not the one that it says it is", tuple(f"/key/{_escaped(name)}" for name in wrong)
        )
    return key


def _signature(document: Mapping[str, Json]) -> bytes:
    return _hex(document["signature"], SIGNATURE_BYTES, "/signature")


def _hex(value: Json, length: int, field: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value):
        raise ReportRefused(f"{field} is not {length} bytes in lower-case hexadecimal digits", (field,))
    return bytes.fromhex(value)


def _altered(report: Mapping[str, Json], document: Mapping[str, Json], key: PublicKey) -> ReportRefused:
    """Name what was altered, as far as the sums tell; who altered them, too, is not found out."""
    stated = document["sums"]
    sums = stated if isinstance(stated, Mapping) else {}
    found = dict(_sums(report))
    names = sorted(name for name in found.keys() | sums.keys() if found.get(name) != sums.get(name))
    fields = tuple(f"/report{name}" for name in names)
    if fields:
        return ReportRefused("the report was altered after it was signed", fields, key)
    return ReportRefused(
        "the signature is not the key's: it, the key or the sums were altered, or the report with its sums",
        key=key,
    )


def _sums(value: Json, pointer: str = "", depth: int = _SUM_DEPTH) -> Iterator[tuple[str, str]]:
    """The sums of a value's parts: what lies `depth` levels below it, or above that and has no parts."""
    if depth and value and isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _sums(inner, f"{pointer}/{_escaped(name)}", depth - 1)
    elif depth and value and isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _sums(inner, f"{pointer}/{at}", depth - 1)
    else:
        yield pointer, hashlib.sha256(canonical(value)).hexdigest()[: 2 * _SUM_BYTES]


def _escaped(name: str) -> str:
    """A member's name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
