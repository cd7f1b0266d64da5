"""Bringing a volume to another checkpoint where it lies: a cut anywhere leaves it mendable or worthless.

In this order, each step on stable storage before the next one:

1. `<old>.change` says from what to what;
2. the note `<old>.json` goes: the volume counts for nothing now;
3. the file is written to, synced, and its changed places are read back;
4. the file moves to the newer checkpoint's folder;
5. `<new>.json` is written: the volume counts again;
6. `<old>.change` goes.

While `<old>.json` is there the file is untouched, whatever `.change` says. Without it, only the change that
`.change` names can go on, and it begins anew: each place is written with what it is to be, so that doing it
twice is harmless.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from app.kit.errors import Json
from app.launch.durable import remove_if_empty, sync, write_json
from app.launch.machine import DiskContent, Volume
from app.launch.volumenote import VolumeProof, note_volume, noted, require_proved
from app.store.errors import VolumeError
from app.store.volumechange import VolumeChange
from app.store.volumefile import VolumeInPlace, open_in_place


@dataclass(frozen=True)
class Changing:
    """The change of one volume into another."""

    old: Volume
    new: Volume

    def begin(self, disk: DiskContent) -> VolumeChange:
        """Open the volume alone, note what comes, and be ready for the stream.

        Raises VolumeUnproved where the volume is neither the old disk nor on its way from it to the new one,
        VolumeBusy while a machine runs on it.
        """
        path = self._place()
        output = _opened(path, disk.size)
        work = VolumeChange(output, bytes.fromhex(self.old.root), disk.root)
        try:
            self._announce()
        except BaseException:
            work.close()
            raise
        return work

    def _place(self) -> Path:
        """Where the file is: it may have moved before a cut."""
        moved = not self.old.path.exists() and self._noted() == self._note() and self.new.path.exists()
        if not moved and not self.old.path.exists():
            require_proved(self.old)
        return self.new.path if moved else self.old.path

    def _announce(self) -> None:
        if noted(self.old.path) is None:
            if self._noted() != self._note():
                require_proved(self.old)
            return
        require_proved(self.old)
        write_json(self._change, self._note())
        self.old.path.with_suffix(".json").unlink()
        sync(self.old.path.parent)

    def end(self) -> None:
        """The file is the new disk: give it its place and its note."""
        if self.old.path.exists():
            self.new.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.old.path.rename(self.new.path)
            sync(self.new.path.parent)
            sync(self.old.path.parent)
        note_volume(self.new, VolumeProof.CHANGES)
        self.forget()

    def forget(self) -> None:
        """The change is over: nothing of the old volume stays. Harmless a second time."""
        if self._noted() == self._note():
            self._change.unlink()
            remove_if_empty(self.old.path.parent)

    @property
    def _change(self) -> Path:
        return self.old.path.with_suffix(".change")

    def _note(self) -> Json:
        return {
            "from": {"root": self.old.root, "size": self.old.size},
            "to": {"root": self.new.root, "size": self.new.size, "path": str(self.new.path)},
        }

    def _noted(self) -> Json:
        return _read(self._change)


def _opened(path: Path, size: int) -> VolumeInPlace:
    """A volume is read-only for everybody but whoever changes it."""
    path.chmod(0o600)
    try:
        return open_in_place(path, size)
    except VolumeError:
        path.chmod(0o400)
        raise


def _read(path: Path) -> Json:
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def drop_change(path: Path) -> None:
    """Remove what a change that was cut off left of the volume at `path`, the file that moved included."""
    note = path.with_suffix(".change")
    found = _read(note)
    if isinstance(found, dict) and isinstance(found["to"], dict):
        moved = Path(str(found["to"]["path"]))
        if noted(moved) is None:
            moved.unlink(missing_ok=True)
            remove_if_empty(moved.parent)
        note.unlink()
