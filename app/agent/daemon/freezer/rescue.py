"""Thawing what a freezer left frozen that was killed together with its daemon.

Nothing here may write to a disk: the one that is frozen may be the host's own. Not even byte code.
"""

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.mounts import MountTables, open_mount, read_all_mounts
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.freezer import kernel
from app.agent.daemon.freezer.note import Left, notes_in

_PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Rescued:
    """A filesystem that a note names: `error` is 0 where it was thawed, EINVAL where it was not frozen.

    `target` is empty, and `error` ENOENT, where it is not mounted at any place that can be reached.
    """

    number: str
    target: str
    error: int

    @property
    def is_stuck(self) -> bool:
        """Whether it may be frozen still."""
        return self.error not in (0, errno.EINVAL, errno.ENOENT)

    def __str__(self) -> str:
        """A sentence about it."""
        if self.error == errno.ENOENT:
            return f"{self.number} is not mounted any more"
        state = {0: "thawed", errno.EINVAL: "was not frozen"}.get(self.error)
        return f"{self.target} ({self.number}) {state or 'does not thaw: ' + os.strerror(self.error)}"


def thaw_left_frozen(directory: Path, *, also_live: bool = False) -> tuple[Rescued, ...]:
    """Thaw what the notes in `directory` name: those of dead freezers, or those of live ones too.

    One that seems to live gets a moment to finish, or to finish dying. Raises FreezeError for a note that
    cannot be read.
    """
    try:
        notes = _notes(directory, also_live=also_live)
    except OSError as error:
        raise FreezeError(
            f"the notes in {directory} cannot be read: {error.strerror}", remedy="run it as root"
        ) from error
    tables = read_all_mounts() if notes else None
    rescued: list[Rescued] = []
    for note in notes:
        assert tables
        rescued += _thaw_all(note, tables)
    return tuple(rescued)


def _notes(directory: Path, *, also_live: bool) -> list[Left]:
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        notes = list(notes_in(directory))
        if also_live or time.monotonic() >= ends or not any(note.is_live for note in notes):
            return [note for note in notes if also_live or not note.is_live]
        time.sleep(0.05)


def _thaw_all(note: Left, tables: MountTables) -> list[Rescued]:
    """Thaw in reverse, as the freezer would, and remove the note of a dead one that is done with."""
    done = [_thaw(number, tables) for number in reversed(note.numbers)]
    if not note.is_live and not any(each.is_stuck for each in done):
        with contextlib.suppress(FileNotFoundError):
            note.path.unlink()
    return done


def _thaw(number: str, tables: MountTables) -> Rescued:
    for table in tables.tables:
        for line in table.lines:
            if line.number == number:
                with contextlib.suppress(OSError):
                    fd = open_mount(table.reach(line.target), line.mount_id)
                    try:
                        return Rescued(number, line.target, kernel.thaw(fd))
                    finally:
                        os.close(fd)
    return Rescued(number, "", errno.ENOENT)
