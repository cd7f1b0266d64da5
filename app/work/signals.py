"""What a running step is told, and what it says, between the event loop and the step's threads."""

import threading
from collections import deque
from dataclasses import dataclass

from app.work.errors import StepCancelled
from app.work.journal import Note


@dataclass(frozen=True, slots=True)
class Said:
    """What a step said and is not written down yet; `progress` is its own, 0 to 100, None for no news."""

    notes: tuple[Note, ...] = ()
    progress: int | None = None
    text: str = ""


class Signals:
    """Shared by a step, its threads and the worker; every member may be used from any thread."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self._stop = threading.Event()
        self._reason = ""
        self._notes: deque[Note] = deque()
        self._progress: tuple[int, str] | None = None
        self.is_cancelled = False
        """The job is cancelled."""
        self.is_lost = False
        """The lease is lost: nothing that the step does is wanted."""
        self.is_released = False
        """The process stops."""

    def stop(self, reason: str) -> None:
        """Let `check` raise from now on."""
        self._reason = self._reason or reason
        self._stop.set()

    def check(self) -> None:
        """Raises StepCancelled once the step is to stop."""
        if self._stop.is_set():
            raise StepCancelled(self._reason)

    def say(self, note: Note) -> None:
        """Keep an event until it is written down."""
        self._notes.append(note)

    def set_progress(self, percent: int, text: str) -> None:
        """Keep how far the step is until it is written down."""
        self._progress = (min(max(percent, 0), 100), text)

    @property
    def has_news(self) -> bool:
        """Whether something is to be written down."""
        return bool(self._notes) or self._progress is not None

    def take(self) -> Said:
        """What is to be written down; it is handed out once."""
        notes = tuple(self._notes.popleft() for _ in range(len(self._notes)))
        progress, self._progress = self._progress, None
        return Said(notes, *progress) if progress else Said(notes)

    def put_back(self, said: Said) -> None:
        """It could not be written down: keep it for the next time."""
        self._notes.extendleft(reversed(said.notes))
        if said.progress is not None and self._progress is None:
            self._progress = (said.progress, said.text)
