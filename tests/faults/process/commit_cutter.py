"""Cuts a database connection exactly at COMMIT, as a watcher of a `StreamProxy` in front of MariaDB."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.process.stream_proxy import Stream

COMMIT = b"\x07\x00\x00\x00\x03COMMIT"
"""The packet that ends a transaction well: its length, its number, the command QUERY, the text."""


class Moment(StrEnum):
    """When the connection is cut."""

    BEFORE = "before"
    """The server never sees the COMMIT."""
    AFTER = "after"
    """The server has done it, and its answer is lost."""


@dataclass
class CommitCutter:
    """Cuts the next COMMIT of a transaction in which a statement contains `text`, when it is armed."""

    cuts: int = 0
    _moment: Moment | None = None
    _text: bytes = b""
    _matching: dict[Stream, bool] = field(default_factory=dict)
    _answering: set[Stream] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, moment: Moment, text: bytes) -> None:
        """Cut once."""
        with self._lock:
            self._moment, self._text = moment, text
            self._matching.clear()

    async def watch(self, stream: Stream, piece: bytes, to_server: bool) -> bool:
        """A watcher: see `stream_proxy.Watcher`. Raises ConnectionError to cut."""
        with self._lock:
            if not to_server:
                self._cut_if(stream in self._answering)
                return True
            if self._moment is not None and self._text in piece:
                self._matching[stream] = True
            if piece == COMMIT and self._matching.pop(stream, False):
                moment, self._moment = self._moment, None
                if moment is Moment.AFTER:
                    self._answering.add(stream)
                self._cut_if(moment is Moment.BEFORE)
            return True

    def _cut_if(self, now: bool) -> None:
        if now:
            self.cuts += 1
            raise ConnectionError("cut at COMMIT")
