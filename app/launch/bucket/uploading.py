"""A file becomes an object, in parts, and is proved to be what the file is. All of it blocks.

Each part is read twice, for its digest and for sending, so that memory stays at a piece whatever its size.
The digest is part of the request's signature: the server refuses bytes that changed on their way. Then the
whole is proved:

- where the server keeps checksums, by the one it has of the object: of a multipart upload it is the SHA-256
  over the digests of the parts, and their number (AWS, "Checking object integrity", composite checksums);
- where it keeps none, by reading the object back.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.bucket.client import BucketClient, FilePart, Upload, file_pieces
from app.launch.errors import LaunchError, UploadDiffers

MOST_PARTS: Final = 10_000
_GRAIN: Final = 1 << 20
_CHECKSUM: Final = "x-amz-checksum-sha256"


@dataclass(frozen=True)
class Span:
    """Where a part lies in its file, in bytes."""

    offset: int
    length: int


def spans(size: int, part_bytes: int) -> tuple[Span, ...]:
    """The parts of a file: of `part_bytes`, or of as many MiB as bring them below S3's most. At least one."""
    least = -(-size // MOST_PARTS)
    length = max(part_bytes, -(-least // _GRAIN) * _GRAIN)
    return tuple(Span(at, min(length, size - at)) for at in range(0, max(size, 1), length))


def composite(digests: Sequence[bytes]) -> str:
    """What a server that keeps checksums says of an object of these parts."""
    return f"{_base64(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"


def fits(said: str, digests: Sequence[bytes], sha256: str) -> bool:
    """Whether a server's checksum is that of these parts, or of the whole as some servers have it."""
    return said in (composite(digests), _base64(bytes.fromhex(sha256)))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Uploading:
    """One file on its way to a key."""

    client: BucketClient
    path: Path
    key: str
    sha256: str
    """Of the file, hexadecimal."""

    def run(self) -> None:
        """Send and prove it. Raises UploadDiffers, BucketUnreachable, BucketRefused, BucketFull.

        An upload that an error ends, LaunchStopped as well, is aborted. What a process that is killed leaves,
        and an object that is not the right one, is for `BucketClient.abort` and `delete`.
        """
        kept = {"x-amz-checksum-algorithm": "SHA256", "x-amz-meta-sha256": self.sha256}
        upload = self.client.begin(self.key, kept)
        try:
            parts = self._sent(upload)
        except Exception as error:
            self._abort(upload, error)
            raise
        self._prove([part.sha256 for part in parts])

    def _sent(self, upload: Upload) -> list[FilePart]:
        """Send all parts, and make the object of them."""
        parts, tags = [], []
        for number, part in enumerate(self._parts(), start=1):
            said = {_CHECKSUM: _base64(part.sha256)}
            tags.append(self.client.send_part(upload, number, part, said))
            parts.append(part)
        self.client.complete(upload, _listed(parts, tags))
        return parts

    def _abort(self, upload: Upload, reason: Exception) -> None:
        """Drop the upload while its id is known: MinIO lists uploads by their whole key only.

        By a client of its own, since this one may have been stopped. A failure is told with `reason`.
        """
        try:
            with BucketClient(self.client.settings) as client:
                client.abort(upload)
        except LaunchError as error:
            reason.add_note(f"its upload {upload.id} is still there: {error}")

    def _parts(self) -> Iterator[FilePart]:
        """The parts with their digests. Raises UploadDiffers where the file is another by now."""
        whole = hashlib.sha256()
        for span in spans(self.path.stat().st_size, self.client.settings.part_bytes):
            digest = hashlib.sha256()
            for piece in file_pieces(self.path, span.offset, span.length):
                digest.update(piece)
                whole.update(piece)
            yield FilePart(self.path, span.offset, span.length, digest.digest())
        if whole.hexdigest() != self.sha256:
            raise self._differs(f"{self.path} changed while it was sent")

    def _prove(self, digests: Sequence[bytes]) -> None:
        found = self.client.head(self.key)
        size, wanted = int(found.get("content-length", -1)), self.path.stat().st_size
        if size != wanted:
            raise self._differs(f"{self.key} has {size} bytes in {self.client.settings} instead of {wanted}")
        said = found.get(_CHECKSUM)
        if said is None:
            self._read_back()
        elif not fits(said, digests, self.sha256):
            raise self._differs(
                f"{self.client.settings} has {self.key} with the checksum {said}, which is another"
            )

    def _read_back(self) -> None:
        found = digest_of(self.client, self.key)
        if found != self.sha256:
            raise self._differs(
                f"{self.key} read back from {self.client.settings} has the SHA-256 {found}, not {self.sha256}"
            )

    def _differs(self, text: str) -> UploadDiffers:
        return UploadDiffers(text, remedy="publish again; look at the object storage where it happens again")


def digest_of(client: BucketClient, key: str) -> str:
    """The SHA-256 of an object's bytes, all of them read, hexadecimal."""
    digest = hashlib.sha256()
    for piece in client.pieces(key):
        digest.update(piece)
    return digest.hexdigest()


def _listed(parts: Sequence[FilePart], tags: Sequence[str]) -> bytes:
    """The parts as completing an upload lists them."""
    lines = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag>"
        f"<ChecksumSHA256>{_base64(part.sha256)}</ChecksumSHA256></Part>"
        for number, (part, tag) in enumerate(zip(parts, tags, strict=True), start=1)
    )
    return f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()
