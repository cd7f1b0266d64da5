"""A backend in a bucket that speaks S3: Ceph's object gateway, AWS, and what is compatible with them.

Names are keys below a prefix, the same as in a folder, so that a store can be copied from one to the other by
any tool. A put is one request: S3 shows an object whole or not at all, answers when it is durable, and gives
readers and listings the newest state at once (strong consistency). The body's SHA-256 is part of the
signature, so that a byte that the network changed is refused. Locks are objects, too: see `s3lock`.

S3 has no free space to ask for: a full bucket is known by the refusal of a put, and `usage` says no limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import obstore

from app.store.backend import ObjectInfo, Range, Usage, checked_name
from app.store.errors import ObjectDamaged, StoreUnavailable
from app.store.s3lock import S3Lock
from app.store.s3place import S3Place, s3_errors
from app.wire.buffers import Buffer

NO_LIMIT: Final = 1 << 62
"""Bytes; what `usage` says of a bucket."""


class S3Backend:
    """Objects in a bucket."""

    def __init__(self, place: S3Place) -> None:
        """Use the bucket, which must be there. Raises StoreUnavailable."""
        self.place = place
        self.client = place.connect()
        self.usage()

    def put(self, name: str, parts: Sequence[Buffer], *, reserved: bool = False) -> None:  # noqa: ARG002
        """See `Backend.put`. There is no reserve in a bucket."""
        with s3_errors("write", checked_name(name)):
            obstore.put(self.client, name, b"".join(parts), use_multipart=False)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Backend.get`."""
        checked_name(name)
        if length is None and not offset:
            with s3_errors("read", name, missing=name):
                return bytes(obstore.get(self.client, name).bytes())
        if not length:
            return self._rest(name, offset, length)
        try:
            with s3_errors("read", name, missing=name):
                data = bytes(obstore.get_range(self.client, name, start=offset, length=length))
        except StoreUnavailable:
            self._require_size(name, offset + length)
            raise
        if len(data) < length:
            self._require_size(name, offset + length)
            raise ObjectDamaged(f"{name} gave {len(data)} bytes instead of {length}", object=name)
        return data

    def get_ranges(self, name: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        """See `Backend.get_ranges`. What does not come whole is asked for again alone, to say why."""
        starts, lengths = zip(*ranges, strict=True)
        try:
            with s3_errors("read", checked_name(name), missing=name):
                found = obstore.get_ranges(self.client, name, starts=starts, lengths=lengths, coalesce=0)
        except StoreUnavailable:
            found = []
        for at, (offset, length) in enumerate(ranges):
            is_whole = at < len(found) and len(found[at]) == length
            yield bytes(found[at]) if is_whole else self.get(name, offset, length)

    def _rest(self, name: str, offset: int, length: int | None) -> bytes:
        """A range whose length is zero, or is what the object has from `offset` on."""
        rest = self._require_size(name, offset) - offset
        return self.get(name, offset, rest) if length is None and rest else b""

    def _require_size(self, name: str, needed: int) -> int:
        size = self.info(name).size
        if size < needed:
            raise ObjectDamaged(
                f"{name} has {size} bytes where {needed} are needed: it was cut off", object=name
            )
        return size

    def info(self, name: str) -> ObjectInfo:
        """See `Backend.info`."""
        with s3_errors("look at", checked_name(name), missing=name):
            found = obstore.head(self.client, name)
        return ObjectInfo(name, found["size"], found["last_modified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Backend.list`. Keys come sorted, so that only the pages with the prefix are asked for."""
        parent, _, _ = prefix.rpartition("/")
        with s3_errors("list", prefix):
            for page in obstore.list(self.client, parent or None, offset=_before(prefix)):
                for found in page:
                    name = found["path"]
                    if name.startswith(prefix):
                        if not name.startswith("."):
                            yield ObjectInfo(name, found["size"], found["last_modified"])
                    elif name > prefix:
                        return

    def delete(self, name: str, *, durable: bool = False) -> None:  # noqa: ARG002
        """See `Backend.delete`. What S3 has acknowledged is durable in any case."""
        with s3_errors("delete", checked_name(name)):
            obstore.delete(self.client, name)

    def usage(self) -> Usage:
        """See `Backend.usage`: whether the bucket answers."""
        with s3_errors("look into", str(self.place)):
            next(iter(obstore.list(self.client, "checkpoints", chunk_size=1)), None)
        return Usage(NO_LIMIT, NO_LIMIT)

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[None]:
        """See `OpenBackend.lock`."""
        with S3Lock(self.client, str(self.place), exclusive).held():
            yield

    def close(self) -> None:
        """Nothing is held open."""


def _before(prefix: str) -> str | None:
    """A key right before all that start with `prefix`: no name has a character that sorts behind `~`."""
    if not prefix or prefix.endswith("/"):
        return None
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}~"
