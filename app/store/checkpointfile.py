"""Checkpoint files: what a checkpoint is, complete in itself, so that the database can be rebuilt.

A file is one JSON document `{"format": 1, "checksum": …, "content": {…}}`: the checksum is BLAKE3 (hex) of
the content as this module encodes it, and the whole file must be exactly what it encodes, so that every
flipped bit is found. Hashes are lower-case hex, sizes and offsets bytes, times ISO-8601 in UTC.

    checkpoints/<server>/<number, ten digits>-<id>.json        the file, written before the transaction
    checkpoints/<server>/<number, ten digits>-<id>.committed   the commit marker, written after it; holds
                                                               the file's checksum
"""

import re
from dataclasses import dataclass, field
from typing import Final, Self

from blake3 import blake3

from app.store.errors import ObjectDamaged
from app.wire import jsonform
from app.wire.buffers import Buffer
from app.wire.errors import WireError
from app.wire.messages import Counters, Range

FORMAT: Final = 1
MAX_BYTES: Final = 256 * 1024 * 1024
PREFIX: Final = "checkpoints/"
_KEY = re.compile(r"checkpoints/([A-Za-z0-9._-]+)/([0-9]{10,19})-([A-Za-z0-9._-]+)\.(json|committed)")


@dataclass(frozen=True)
class CheckpointName:
    """What a checkpoint's file is called after."""

    server: str
    number: int
    id: str

    @property
    def key(self) -> str:
        """Object name of the file."""
        return f"{PREFIX}{self.server}/{self.number:010d}-{self.id}.json"

    @property
    def marker(self) -> str:
        """Object name of the commit marker."""
        return f"{PREFIX}{self.server}/{self.number:010d}-{self.id}.committed"

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The name behind a file's or a marker's object name; None for any other object."""
        found = _KEY.fullmatch(key)
        return cls(found[1], int(found[2]), found[3]) if found else None


@dataclass(frozen=True)
class CheckpointDisk:
    """One disk of a checkpoint. `parent_root` is empty where the parent lacks the disk.

    `omitted` ranges were reported free and read as zeros; `unreadable` ranges gave read errors and are zeros.
    """

    disk_id: str
    key: str
    path: str
    size: int
    used_bytes: int
    sector_size: int
    chunk_size: int
    parent_root: str
    root: str
    label: str
    omitted: tuple[Range, ...] = ()
    unreadable: tuple[Range, ...] = ()
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True)
class TrackerEvidence:
    """Why the checkpoint may be believed complete: the capture method and the tracker's identity."""

    method: str
    identity: str


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint of a server; `parent` is empty for its first one."""

    project: str
    project_name: str
    server: str
    server_name: str
    number: int
    id: str
    parent: str
    generation: int
    label: str
    source_time: str
    created_at: str
    tracker: TrackerEvidence
    disks: tuple[CheckpointDisk, ...]

    @property
    def name(self) -> CheckpointName:
        """What the file is called after."""
        return CheckpointName(self.server, self.number, self.id)

    @property
    def checksum(self) -> str:
        """BLAKE3 (hex) of the content."""
        return blake3(jsonform.encode(self)).hexdigest()

    def encode(self) -> bytes:
        """The file's bytes."""
        return jsonform.encode(_Document(FORMAT, self.checksum, self))

    @staticmethod
    def decode(data: Buffer, name: CheckpointName) -> "CheckpointFile":
        """Parse the file called `name`. Raises ObjectDamaged for any byte that is not as it was written."""
        try:
            document = jsonform.decode(_Document, bytes(data))
        except (WireError, UnicodeDecodeError) as error:
            raise ObjectDamaged(f"{name.key} is no checkpoint file: {error}", object=name.key) from error
        file = document.content
        if document.format != FORMAT or document.checksum != file.checksum or file.encode() != bytes(data):
            raise ObjectDamaged(f"{name.key} is not what its checksum says", object=name.key)
        if file.name != name:
            raise ObjectDamaged(f"{name.key} holds the checkpoint {file.name.key}", object=name.key)
        return file


@dataclass(frozen=True)
class _Document:
    format: int
    checksum: str
    content: CheckpointFile
