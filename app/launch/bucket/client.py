"""Requests to a bucket that speaks S3, signed and repeated while the storage does not answer.

The store's client (obstore) hides the ids of multipart uploads. Images need them: what a killed process had
begun to send is found by another one and aborted, or it would be paid for without ever being seen. All of it
blocks.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import httpx2
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from app.kit.clock import SystemClock
from app.launch.bucket.answers import NOT_THERE, SPEAKS_S3, UNREACHABLE, Document, code_of, error_of, is_error
from app.launch.bucket.settings import AccessKeys, BucketSettings
from app.launch.bucket.signing import Unsigned, signed
from app.launch.errors import BucketRefused, BucketUnreachable
from app.launch.threads import Stop

ATTEMPTS: Final = 5
PAGE: Final = 1000
"""Entries of a list in one answer, the most that S3 gives."""
PIECE: Final = 1 << 20
"""Bytes that are in memory at once of what is sent or read."""
_TIMES: Final = httpx2.Timeout(60, connect=5)
_LONG: Final = httpx2.Timeout(600, connect=5)
"""Of completing an upload: AWS says that it may take minutes."""


class Body(Protocol):
    """What a request carries."""

    @property
    def length(self) -> int:
        """Bytes."""

    @property
    def sha256(self) -> bytes:
        """The digest."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes, from the start at each call."""


@dataclass(frozen=True)
class Short:
    """A body in memory."""

    data: bytes = b""

    @property
    def length(self) -> int:
        """See `Body`."""
        return len(self.data)

    @property
    def sha256(self) -> bytes:
        """See `Body`."""
        return hashlib.sha256(self.data).digest()

    def pieces(self) -> Iterator[bytes]:
        """See `Body`."""
        yield self.data


@dataclass(frozen=True)
class FilePart:
    """A part of a file, which was read once for its digest."""

    path: Path
    offset: int
    length: int
    sha256: bytes

    def pieces(self) -> Iterator[bytes]:
        """See `Body`."""
        return file_pieces(self.path, self.offset, self.length)


def file_pieces(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of a part of a file, at most PIECE at once."""
    with path.open("rb") as file:
        file.seek(offset)
        while length and (piece := file.read(min(PIECE, length))):
            length -= len(piece)
            yield piece


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and not ended."""

    key: str
    id: str


class BucketClient:
    """A bucket under the keys that the settings name. To be closed.

    Methods raise BucketUnreachable, BucketRefused and BucketFull, which name bucket and key.
    """

    def __init__(self, settings: BucketSettings, stop: Stop | None = None) -> None:
        """Read the keys; sends nothing yet. All work ends when `stop` is told. Raises SettingsWrong."""
        self.settings = settings
        self._stop = stop or Stop()
        self._keys: AccessKeys = settings.access_keys()
        self._http = httpx2.Client(timeout=_TIMES, headers={"accept-encoding": "identity"})
        """Bytes are asked for as they are; not signed, since proxies rewrite this header."""

    def __enter__(self) -> "BucketClient":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def put(self, key: str, data: bytes) -> None:
        """Write a small object, whole or not at all."""
        self._sent("PUT", key, f"write {key} to {self.settings}", body=Short(data))

    def get(self, key: str) -> bytes | None:
        """A small object, or None where there is none."""
        doing = f"read {key} of {self.settings}"
        answer = self._answer("GET", key, doing)
        if code_of(answer) in NOT_THERE and answer.status_code == httpx2.codes.NOT_FOUND:
            return None
        return _accepted(answer, doing).content

    def head(self, key: str) -> Mapping[str, str]:
        """The headers of an object, with its checksums where the server keeps them. Raises BucketRefused."""
        asked = {"x-amz-checksum-mode": "ENABLED"}
        return self._sent("HEAD", key, f"look at {key} of {self.settings}", headers=asked).headers

    def delete(self, key: str) -> None:
        """Remove an object; harmless when it is gone."""
        self._sent("DELETE", key, f"delete {key} of {self.settings}")

    def keys(self, prefix: str, page: int = PAGE) -> tuple[str, ...]:
        """The keys of all objects that begin so; `page` are asked for at once."""
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(page)}
        found = self._pages(query, ("continuation-token",), ("NextContinuationToken",))
        return tuple(each.text("Key") for one in found for each in one.each("Contents"))

    def begin(self, key: str, headers: Mapping[str, str]) -> Upload:
        """Begin a multipart upload."""
        doing = f"begin to write {key} to {self.settings}"
        answer = self._sent("POST", key, doing, query={"uploads": ""}, headers=headers)
        found = Document.of(answer, doing).text("UploadId")
        if not found:
            raise BucketRefused(f"{doing}: the answer names no upload", remedy=SPEAKS_S3)
        return Upload(key, found)

    def send_part(self, upload: Upload, number: int, part: Body, headers: Mapping[str, str]) -> str:
        """Send a part of an upload, from 1 on; the ETag that completing it asks for."""
        doing = f"write part {number} of {upload.key} to {self.settings}"
        query = {"partNumber": str(number), "uploadId": upload.id}
        answer = self._sent("PUT", upload.key, doing, query=query, headers=headers, body=part)
        return answer.headers.get("etag", "")

    def complete(self, upload: Upload, parts: bytes) -> None:
        """Make the object of the parts, which the XML `parts` lists.

        An upload that is not there was completed by a request whose answer was lost, or was aborted: what the
        object is now is to be verified in any case.
        """
        doing = f"complete {upload.key} in {self.settings}"
        answer = self._answer(
            "POST", upload.key, doing, query={"uploadId": upload.id}, body=Short(parts), times=_LONG
        )
        if code_of(answer) != "NoSuchUpload":
            _accepted(answer, doing)

    def abort(self, upload: Upload) -> None:
        """Drop an upload and its parts; harmless when it is gone."""
        doing = f"drop the upload of {upload.key} to {self.settings}"
        answer = self._answer("DELETE", upload.key, doing, query={"uploadId": upload.id})
        if code_of(answer) != "NoSuchUpload":
            _accepted(answer, doing)

    def uploads(self, prefix: str, page: int = PAGE) -> tuple[Upload, ...]:
        """The uploads of all keys that begin so; `page` are asked for at once."""
        query = {"uploads": "", "prefix": prefix, "max-uploads": str(page)}
        asked, told = ("key-marker", "upload-id-marker"), ("NextKeyMarker", "NextUploadIdMarker")
        return tuple(
            Upload(each.text("Key"), each.text("UploadId"))
            for found in self._pages(query, asked, told)
            for each in found.each("Upload")
        )

    def _pages(
        self, query: Mapping[str, str], asked: tuple[str, ...], told: tuple[str, ...]
    ) -> Iterator[Document]:
        doing, more = f"list {self.settings}", dict(query)
        while True:
            page = Document.of(self._sent("GET", "", doing, query=more), doing)
            yield page
            if page.text("IsTruncated") != "true":
                return
            marks = {name: page.text(place) for name, place in zip(asked, told, strict=True)}
            if not any(marks.values()):
                raise BucketRefused(f"{doing}: a list goes on and does not say where", remedy=SPEAKS_S3)
            more = {**query, **marks}

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a large object. A connection that breaks is taken up where it broke.

        Raises BucketUnreachable where it breaks, or an answer ends, without a byte of what lacks.
        """
        at, size = 0, int(self.head(key)["content-length"])
        doing = f"read {key} of {self.settings}"
        while at < size:
            before = at
            try:
                for piece in self._watched(self._from(key, at, doing)):
                    yield piece
                    at += len(piece)
            except BucketUnreachable:
                if at == before:
                    raise
            if at == before:
                raise BucketUnreachable(f"{doing}: no byte from {at} on, of {size}", remedy=UNREACHABLE)

    def _from(self, key: str, at: int, doing: str) -> Iterator[bytes]:
        with self._opened("GET", key, doing, headers={"range": f"bytes={at}-"}) as answer, _reached(doing):
            if at and answer.status_code != httpx2.codes.PARTIAL_CONTENT:
                raise BucketRefused(f"{doing}: asked from {at} on, it is sent whole", remedy=SPEAKS_S3)
            yield from answer.iter_bytes(PIECE)

    @contextmanager
    def _opened(
        self, method: str, key: str, doing: str, headers: Mapping[str, str]
    ) -> Iterator[httpx2.Response]:
        """An answer whose body was not read yet."""

        def sent() -> httpx2.Response:
            with _reached(doing):
                answer = self._http.send(self._request(method, key, {}, headers, Short()), stream=True)
                if not answer.is_success:
                    answer.read()
                    answer.close()
            return _passing(answer, doing)

        answer = _repeated(sent)
        try:
            if not answer.is_success:
                raise error_of(answer, doing)
            yield answer
        finally:
            answer.close()

    def _sent(
        self,
        method: str,
        key: str,
        doing: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> httpx2.Response:
        return _accepted(self._answer(method, key, doing, query=query, headers=headers, body=body), doing)

    def _answer(
        self,
        method: str,
        key: str,
        doing: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        times: httpx2.Timeout = _TIMES,
    ) -> httpx2.Response:
        """What the storage answers, a refusal as well, once it answers. Raises BucketUnreachable."""

        def sent() -> httpx2.Response:
            request = self._request(method, key, query or {}, headers or {}, body or Short())
            request.extensions["timeout"] = times.as_dict()
            with _reached(doing):
                answer = self._http.send(request)
            return _passing(answer, doing)

        return _repeated(sent)

    def _request(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: Body
    ) -> httpx2.Request:
        """Signed at each attempt anew: a signature holds for minutes. Requests go to no other host."""
        self._stop.check()
        base = httpx2.URL(self.settings.url)
        path = f"/{self.settings.bucket}/{key}" if key else f"/{self.settings.bucket}"
        unsigned = Unsigned(method, base.netloc.decode(), path, query, body.sha256.hex(), headers)
        ready = signed(unsigned, self._keys, self.settings.region, SystemClock().now())
        url = base.copy_with(raw_path=f"{unsigned.raw_path}?{unsigned.raw_query}".rstrip("?").encode())
        if body.length or method in ("PUT", "POST"):
            ready["content-length"] = str(body.length)
        return self._http.build_request(
            method, url, headers=ready, content=self._watched(body.pieces()) if body.length else None
        )

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._stop.check()
            yield piece


def _accepted(answer: httpx2.Response, doing: str) -> httpx2.Response:
    if is_error(answer):
        raise error_of(answer, doing)
    return answer


def _passing(answer: httpx2.Response, doing: str) -> httpx2.Response:
    """The answer, but what passes by itself as an error that is repeated."""
    if not answer.is_success:
        error = error_of(answer, doing)
        if isinstance(error, BucketUnreachable):
            raise error
    return answer


@contextmanager
def _reached(doing: str) -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        said = str(error) or type(error).__name__
        raise BucketUnreachable(f"{doing}: {said}", remedy=UNREACHABLE) from error


def _repeated(call: Callable[[], httpx2.Response]) -> httpx2.Response:
    """The call's answer; it is repeated while the storage does not answer, for some seconds."""
    retrying = Retrying(
        retry=retry_if_exception_type(BucketUnreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=0.3, max=5),
        reraise=True,
    )
    return retrying(call)
