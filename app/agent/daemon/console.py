"""What a person or a program sees: one line redrawn on a terminal, JSON lines otherwise.

Each JSON line is an object with `event`: progress, note, summary, or error; sizes are bytes, times seconds.
"""

import dataclasses
import json
import shutil
import threading
import time
from collections import deque
from typing import IO, Final

from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.sync import Observer, SyncResult
from app.wire.messages import Counters

_REDRAW: Final = 0.5
_LINE: Final = 2.0
_RATE_SECONDS: Final = 15.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a pass is; `rate` in bytes a second, `eta` in seconds, None as long as it is unknown."""

    seen: int
    size: int
    counters: Counters
    rate: float
    eta: float | None


class Console(Observer):
    """Writes to one stream. The progress is drawn by a thread of its own while a pass runs."""

    def __init__(self, out: IO[str], *, is_terminal: bool) -> None:
        self._out = out
        self._is_terminal = is_terminal
        self._disks: tuple[DiskPass, ...] = ()
        self._done = threading.Event()
        self._drawer: threading.Thread | None = None

    def pass_begins(self, disks: tuple[DiskPass, ...]) -> None:
        """Show the notes of the disks and begin to draw."""
        self._disks = disks
        self._done.clear()
        for disk in disks:
            for note in disk.capture.notes:
                self.note(f"{disk.reader.path}: {note}")
        self._drawer = threading.Thread(target=self._draw, name="console", daemon=True)
        self._drawer.start()

    def pass_ends(self) -> None:
        """Stop drawing."""
        self._done.set()
        if self._drawer:
            self._drawer.join()

    def begins_anew(self, reason: str) -> None:
        """Tell why an attempt was in vain."""
        self.note(f"beginning anew: {reason}")

    def committed(self, result: SyncResult) -> None:
        """Show a checkpoint that another one follows."""
        self.summary(result)

    def note(self, text: str) -> None:
        """One line about something that is not an error."""
        self._write(text if self._is_terminal else _json("note", text=text))

    def summary(self, result: SyncResult) -> None:
        """The committed checkpoint."""
        self._write(_summary_text(result) if self._is_terminal else _summary_json(result))

    def _draw(self) -> None:
        rate = _Rate()
        pause = _REDRAW if self._is_terminal else _LINE
        while not self._done.wait(pause):
            self._show(self._progress(rate))
        self._show(self._progress(rate))
        if self._is_terminal:
            self._write("")

    def _progress(self, rate: "_Rate") -> Progress:
        seen = sum(disk.tally.done for disk in self._disks)
        size = sum(disk.tally.work for disk in self._disks)
        speed = rate.after(seen)
        eta = (size - seen) / speed if speed > 0 else None
        return Progress(seen, size, Counters.total([disk.tally.counted for disk in self._disks]), speed, eta)

    def _show(self, progress: Progress) -> None:
        if self._is_terminal:
            self._out.write("\r\x1b[K" + bar(progress, shutil.get_terminal_size().columns - 1))
            self._out.flush()
        else:
            eta = None if progress.eta is None else round(progress.eta)
            self._write(
                _json(
                    "progress",
                    seen=progress.seen,
                    size=progress.size,
                    rate=round(progress.rate),
                    eta=eta,
                    counters=dataclasses.asdict(progress.counters),
                )
            )

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class _Rate:
    """Bytes a second over the last quarter of a minute."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def after(self, seen: int) -> float:
        """The rate, `seen` bytes being done now."""
        now = time.monotonic()
        self._points.append((now, seen))
        while len(self._points) > 2 and self._points[0][0] < now - _RATE_SECONDS:
            self._points.popleft()
        (then, before) = self._points[0]
        return max(0.0, (seen - before) / (now - then)) if now > then else 0.0


def bar(progress: Progress, width: int) -> str:
    """The progress as one line of at most `width` characters."""
    share = progress.seen / progress.size if progress.size else 1.0
    eta = "--:--" if progress.eta is None else duration(progress.eta)
    tail = (
        f" {share:4.0%}  {size_text(progress.seen)} of {size_text(progress.size)}"
        f"  {size_text(progress.rate)}/s  ETA {eta}  sent {size_text(progress.counters.wire)}"
    )
    room = max(0, min(40, width - len(tail) - 2))
    filled = int(room * share)
    line = f"[{'#' * filled}{'.' * (room - filled)}]{tail}" if room >= 5 else tail.strip()
    return line[:width]


def size_text(count: float) -> str:
    """Bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _json(event: str, **members: object) -> str:
    return json.dumps({"event": event, **members}, separators=(",", ":"))


def _summary_text(result: SyncResult) -> str:
    did = result.counters
    lines = [
        f"checkpoint {result.number} ({result.checkpoint_id}), {_label_text(result)}, "
        f"in {result.seconds:.1f} s: read {size_text(did.read)}, sent {size_text(did.wire)}, "
        f"known {size_text(did.known)}, omitted {size_text(did.omitted)}"
    ]
    for disk in result.disks:
        lines.append(f"  {disk.path}  {size_text(disk.size)}  root {disk.root}")
        if disk.unreadable:
            lines.append(f"  {disk.path}  {size_text(disk.unreadable)} could not be read and are zeros")
    if result.detail:
        lines.append(f"  {result.detail}")
    return "\n".join(lines)


def _label_text(result: SyncResult) -> str:
    if not result.frozen_seconds:
        return result.label
    return f"{result.label} (source held for {result.frozen_seconds * 1000:.0f} ms)"


def _summary_json(result: SyncResult) -> str:
    return _json(
        "summary",
        checkpoint=result.checkpoint_id,
        number=result.number,
        label=result.label,
        seconds=round(result.seconds, 3),
        storedBytes=result.stored_bytes,
        freezeMs=round(result.frozen_seconds * 1000),
        rounds=result.rounds,
        detail=result.detail,
        counters=dataclasses.asdict(result.counters),
        disks=[dataclasses.asdict(disk) for disk in result.disks],
    )
