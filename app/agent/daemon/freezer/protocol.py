"""What the daemon and the freezer say to each other over a socket pair (SOCK_SEQPACKET, native byte order).

The daemon asks (28 bytes: op, depth, major, minor, seconds, seconds) and the freezer answers (24 bytes:
kind, code, index, errno, seconds, seconds). One request is under way at a time.

    (start)                     → READY; errno where its memory is not locked, index an errno where the
                                  kernel may kill it for want of memory
    ADD major:minor, depth      no answer; one fd comes with it. Filesystems are frozen in the order in which
                                  they are added, those of one depth in a row at once
    FORGET                      → DONE, when all that was added is closed
    FREEZE budget, dead-man     → SYNCED, when all caches were written back once; the clock starts here
                                → FATE code=Fate, index, errno: one for each filesystem
                                → DONE code=Reason, errno, when it began, how long it took
    THAW                        → FATE …, DONE code=Reason, 0, when the freeze began, how long it lasted

The fd of ADD travels by SCM_RIGHTS: what the daemon verified is what the freezer freezes. Times are of
CLOCK_MONOTONIC, which both read. The end of the stream is a request too: thaw, and exit.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

_REQUEST: Final = struct.Struct("=BBxxIIdd")
_ANSWER: Final = struct.Struct("=BBHidd")


class Op(IntEnum):
    """What the daemon asks for."""

    ADD = 1
    FORGET = 2
    FREEZE = 3
    THAW = 4


class Kind(IntEnum):
    """What an answer is."""

    READY = 1
    SYNCED = 2
    FATE = 3
    DONE = 4


class Fate(IntEnum):
    """What became of a filesystem."""

    UNTOUCHED = 0
    FROZEN = 1
    SYNCED = 2
    """It knows no freezing: its cache was written back instead."""
    REFUSED = 3
    THAWED = 4
    STRANGER = 5
    """It was not frozen any more when it was to be thawed: somebody else had done it."""
    STUCK = 6
    """It did not thaw."""
    LATE = 7
    """It froze when thawing had begun already, and was thawed at once."""


class Reason(IntEnum):
    """Why filesystems were thawed, or NONE."""

    NONE = 0
    ASKED = 1
    REFUSED = 2
    BUDGET = 3
    TIMER = 4
    LEFT_ALONE = 5
    NO_NOTE = 6
    """Nothing was frozen: the note for the rescue could not be written."""


@dataclass(frozen=True)
class Request:
    """`budget` and `dead_man` in seconds, for FREEZE; `major`, `minor` and `depth` (to 255) for ADD."""

    op: Op
    major: int = 0
    minor: int = 0
    budget: float = 0.0
    dead_man: float = 0.0
    depth: int = 0

    def packed(self) -> bytes:
        """The message."""
        return _REQUEST.pack(self.op, self.depth, self.major, self.minor, self.budget, self.dead_man)

    @classmethod
    def unpacked(cls, message: bytes) -> Self:
        """The request in a message. Raises struct.error or ValueError for one that is none."""
        op, depth, major, minor, budget, dead_man = _REQUEST.unpack(message)
        return cls(Op(op), major, minor, budget, dead_man, depth)


@dataclass(frozen=True)
class Answer:
    """`code` is a Fate or a Reason, by kind; `error` an errno or 0."""

    kind: Kind
    code: int = 0
    index: int = 0
    error: int = 0
    began: float = 0.0
    took: float = 0.0

    def packed(self) -> bytes:
        """The message."""
        return _ANSWER.pack(self.kind, self.code, self.index, self.error, self.began, self.took)

    @classmethod
    def unpacked(cls, message: bytes) -> Self:
        """The answer in a message. Raises struct.error or ValueError for one that is none."""
        kind, code, index, error, began, took = _ANSWER.unpack(message)
        return cls(Kind(kind), code, index, error, began, took)


REQUEST_BYTES: Final = _REQUEST.size
ANSWER_BYTES: Final = _ANSWER.size
