"""What an online verification asks and tells: the agent re-reads its disks and compares them with the head.

The head is asked for by requests that need no session, so that a verification never fences the one that runs:

    GET  /agent/v1/checkpoints/head                             → CheckpointRoots
    GET  …/checkpoints/{checkpoint}/disks/{disk}/left-out       → LeftOut
    GET  …/checkpoints/{checkpoint}/disks/{disk}/leaves         ids of leaves, exactly as they are stored
    POST /agent/v1/verifications/{verification}/progress        Progress → Pace
    POST /agent/v1/verifications/{verification}/result          Verification
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from app.wire.jsonform import AtMost
from app.wire.messages import Hash, Range

HEAD: Final = "head"
"""Names the newest checkpoint in a path."""
MAX_UNEXPLAINED: Final = 1000
"""Ranges that are named of a disk; `unexplained_bytes` counts the others too."""


class Verdict(StrEnum):
    """What a verification says of a disk, the best first.

    `SAME`: all that was compared is the replica's, or was written since. `UNPROVED`: something differs, or
    could not be compared, and nothing says why. `DIFFERS`: something differs that nobody wrote.
    """

    SAME = "SAME"
    UNPROVED = "UNPROVED"
    DIFFERS = "DIFFERS"


@dataclass(frozen=True)
class CheckpointRoot:
    """A disk of a checkpoint; `root` names its content."""

    disk_id: str
    key: Annotated[str, AtMost(255)]
    size: int
    chunk_size: int
    root: Hash


@dataclass(frozen=True)
class CheckpointRoots:
    """A checkpoint of the agent's own server; `source_time` is ISO-8601."""

    checkpoint_id: Annotated[str, AtMost(32)]
    number: int
    source_time: str
    disks: tuple[CheckpointRoot, ...]


@dataclass(frozen=True)
class LeftOut:
    """Ranges of a disk that are zeros in the replica, whatever the source holds there."""

    omitted: tuple[Range, ...]
    unreadable: tuple[Range, ...]


@dataclass(frozen=True)
class Progress:
    """How far a verification is, in bytes of all its disks. The first one says that it runs."""

    done: int
    total: int


@dataclass(frozen=True)
class Pace:
    """How fast the disks may be read from now on, bytes a second; None for no limit."""

    bytes_per_second: int | None = None


@dataclass(frozen=True)
class DiskVerification:
    """What was found of a disk, in bytes.

    `read` came off the disk and `compared` was compared with the replica, holes of files included. Not
    compared: `omitted` (free at the checkpoint), `unreadable` (the source gave read errors) and `lost` (the
    service cannot read what it has there). Of what was compared, `excused` differs and was written since the
    checkpoint; `unproved` differs on a disk whose writes are not all known; `unexplained` differs and was not
    written. `unexplained` has the first MAX_UNEXPLAINED ranges, joined where they touch, `unexplained_bytes`
    counts all. `code` is empty for a disk that was compared to its end, else why it was not; `note` says it,
    or what else an operator may want to know, in words.
    """

    key: Annotated[str, AtMost(255)]
    size: int
    read: int = 0
    compared: int = 0
    omitted: int = 0
    unreadable: int = 0
    lost: int = 0
    excused: int = 0
    unproved: int = 0
    unexplained: tuple[Range, ...] = ()
    unexplained_bytes: int = 0
    milliseconds: int = 0
    code: Annotated[str, AtMost(64)] = ""
    note: Annotated[str, AtMost(1000)] = ""

    @property
    def verdict(self) -> Verdict:
        """What this says of the disk."""
        if self.unexplained_bytes:
            return Verdict.DIFFERS
        return Verdict.UNPROVED if self.unproved or self.lost or self.code else Verdict.SAME


@dataclass(frozen=True)
class Verification:
    """The result of a verification. `checkpoint_id` is the head that the comparison ended with.

    `code` is empty for one that came to its end, else why it broke off; `detail` says it in words, and what
    `disks` holds then proves nothing.
    """

    checkpoint_id: Annotated[str, AtMost(32)]
    disks: tuple[DiskVerification, ...]
    code: Annotated[str, AtMost(64)] = ""
    detail: Annotated[str, AtMost(1000)] = ""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the disks; UNPROVED for one that broke off and found no difference."""
        found = {disk.verdict for disk in self.disks}
        if Verdict.DIFFERS in found:
            return Verdict.DIFFERS
        is_proved = found == {Verdict.SAME} and not self.code
        return Verdict.SAME if is_proved else Verdict.UNPROVED
