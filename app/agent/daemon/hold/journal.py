"""Where a hold is written down.

    <state directory>/hold.json     Record: on stable storage before each effect
    <run directory>/hold-heard      Heard: until when the dead-man waits, renewed by each answer

What changes with each answer lies under /run, so that it does not dirty the disks that are copied; it counts
for the boot that it names, as the dead-man does.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from app.agent.daemon.errors import StateError
from app.agent.daemon.hold.record import Record
from app.agent.daemon.state import write_atomically
from app.wire.errors import MessageError
from app.wire.jsonform import decode, encode


@dataclass(frozen=True)
class Heard:
    """Until when a loose hold lasts; see Record."""

    cutover: str
    boot: str
    deadline_ms: int


class Journal:
    """The journal of this agent's hold. Raises StateError where it cannot be read or written."""

    def __init__(self, state: Path, run: Path) -> None:
        self._file = state / "hold.json"
        self._heard = run / "hold-heard"

    def read(self) -> Record | None:
        """The hold that stands, or the newest one; None before the first."""
        try:
            record = decode(Record, self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, MessageError) as error:
            raise StateError(
                f"{self._file} cannot be read, so nobody knows whether services are held: {error}",
                code="HOLD_UNREADABLE",
                remedy="see to the services of this host, then remove the file",
            ) from error
        heard = self._read_heard()
        if heard is None or (heard.cutover, heard.boot) != (record.cutover, record.boot):
            return record
        return replace(record, deadline_ms=max(record.deadline_ms, heard.deadline_ms))

    def _read_heard(self) -> Heard | None:
        """None also where it is damaged: the record's own deadline, which is earlier, counts then."""
        with contextlib.suppress(OSError, MessageError):
            return decode(Heard, self._heard.read_bytes())
        return None

    def write(self, record: Record) -> None:
        """Keep it: durable when this returns."""
        _write(self._file, encode(record))

    def renew(self, record: Record) -> None:
        """Keep its deadline."""
        _write(self._heard, encode(Heard(record.cutover, record.boot, record.deadline_ms)))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: {error.strerror}", remedy=f"make room in {path.parent}"
        ) from error
