"""What a bucket answers: its errors as ours, and the lists in its XML."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx2

from app.launch.errors import BucketFull, BucketRefused, BucketUnreachable, LaunchError

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_REGION: Final = re.compile(r"<Region>([\w-]+)</Region>")
_FULL: Final = frozenset({"QuotaExceeded", "InsufficientStorage"})
_PASSING: Final = frozenset(
    {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted"}
)
_KEYS: Final = (
    "correct the keys in LAUNCH.S3_CREDENTIALS, and let their user list, read, write and delete in the bucket"
)
_REMEDIES: Final = {
    "AccessDenied": _KEYS,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidToken": _KEYS,
    "ExpiredToken": _KEYS,
    "403": _KEYS,
    "NoSuchBucket": "make the bucket, or correct the target's settings bucket and endpoint",
    "RequestTimeTooSkewed": "set the clock of the node, or of the object storage",
}
"""By the error code of S3, or by the HTTP status of an answer without a body."""
_REMEDY: Final = "look at the object storage and its log, and at the target's settings"
UNREACHABLE: Final = (
    "correct the target's setting endpoint, or look at the object storage, its certificate and the way there"
)
SPEAKS_S3: Final = "correct the target's setting endpoint: it does not lead to a service that speaks S3"
NOT_THERE: Final = frozenset({"NoSuchKey", "NoSuchUpload"})
"""Codes of a 404 that are no fault of the settings."""


def code_of(answer: httpx2.Response) -> str:
    """The error code of an answer that was read; empty where it has none."""
    found = _CODE.search(answer.text[:10_000])
    return found[1] if found else ""


def is_error(answer: httpx2.Response) -> bool:
    """Whether it is a refusal: completing an upload may answer 200 before it fails."""
    return not answer.is_success or "<Error>" in answer.text[:1000]


def error_of(answer: httpx2.Response, doing: str) -> LaunchError:
    """The error that an answer is, which was read."""
    code, status = code_of(answer), answer.status_code
    said = f"{doing}: {code or 'an error'} (HTTP {status})"
    if code in _FULL or status == httpx2.codes.INSUFFICIENT_STORAGE:
        return BucketFull(f"{doing}: the bucket is full", remedy="raise the quota of the bucket or its user")
    if code in _PASSING or status >= 500 or status == httpx2.codes.TOO_MANY_REQUESTS or answer.is_success:
        return BucketUnreachable(said, remedy=UNREACHABLE)
    region = answer.headers.get("x-amz-bucket-region") or _in_text(_REGION, answer)
    if answer.is_redirect or code in ("AuthorizationHeaderMalformed", "PermanentRedirect"):
        remedy = (
            f"set the target's setting region to {region}"
            if region
            else "correct the settings region and endpoint"
        )
        return BucketRefused(said, remedy=remedy)
    return BucketRefused(said, remedy=_REMEDIES.get(code or str(status), _REMEDY))


def _in_text(pattern: re.Pattern[str], answer: httpx2.Response) -> str:
    found = pattern.search(answer.text[:10_000])
    return found[1] if found else ""


@dataclass(frozen=True)
class Document:
    """An XML answer, whose namespace differs from server to server."""

    root: ET.Element

    @classmethod
    def of(cls, answer: httpx2.Response, doing: str) -> "Document":
        """Parse an answer; expat bounds what entities become. Raises BucketRefused where it is no XML."""
        try:
            return cls(ET.fromstring(answer.text))  # noqa: S314
        except ET.ParseError as error:
            raise BucketRefused(
                f"{doing}: the answer is no XML: {answer.text[:100]!r}",
                remedy=SPEAKS_S3,
            ) from error

    def text(self, name: str) -> str:
        """The text of the first element of the name, or an empty one."""
        return next((each.text or "" for each in self.root.iter() if _local(each) == name), "")

    def each(self, name: str) -> "Iterator[Document]":
        """The elements of the name."""
        return (Document(each) for each in self.root.iter() if _local(each) == name)


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
