"""What a target knows of a device: one note a device, written before and after each change of it.

    <folder>/<key>.json       `key` is made of the device's path

A note that says FREE belongs to a device of ours whose content is worth nothing; where there is no note, the
device is a stranger's.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from app.launch.device.place import Place
from app.launch.durable import write_json
from app.launch.machine import DiskContent
from app.launch.volumenote import VolumeProof


class DeviceState(StrEnum):
    """How a device of ours stands.

    `FREE`: its content is worth nothing. `WRITING`: a disk is being written from its start. `CHANGING`: it is
    on its way from `held` to `wanted`. `HOLDS`: it was verified to be `held`.
    """

    FREE = "FREE"
    WRITING = "WRITING"
    CHANGING = "CHANGING"
    HOLDS = "HOLDS"


@dataclass(frozen=True)
class HeldDisk:
    """A disk of a checkpoint."""

    checkpoint: str
    disk: str
    size: int
    root: str
    """Hexadecimal."""
    chunk_size: int
    sector_size: int

    @classmethod
    def of(cls, disk: DiskContent) -> "HeldDisk":
        """The same, for a note."""
        return cls(disk.checkpoint, disk.disk, disk.size, disk.root.hex(), disk.chunk_size, disk.sector_size)

    @property
    def content(self) -> DiskContent:
        """The same, for a driver."""
        root = bytes.fromhex(self.root)
        return DiskContent(
            self.checkpoint,
            self.disk,
            self.size,
            root,
            sector_size=self.sector_size,
            chunk_size=self.chunk_size,
        )


@dataclass(frozen=True)
class DeviceNote:
    """The note of one device."""

    path: str
    state: DeviceState
    place: Place
    held: HeldDisk | None = None
    wanted: HeldDisk | None = None
    proof: VolumeProof = VolumeProof.OWN_BYTES

    def holds(self, root: str) -> bool:
        """Whether the device was verified to be the disk with this root."""
        return self.state is DeviceState.HOLDS and self.held is not None and self.held.root == root

    def freed(self) -> "DeviceNote":
        """The device stays ours, its content is worth nothing."""
        return replace(self, state=DeviceState.FREE, held=None, wanted=None)


@dataclass(frozen=True)
class Notes:
    """The notes of a target's devices."""

    folder: Path

    def read(self, path: Path) -> DeviceNote | None:
        """The note of the device at `path`, if there is one."""
        try:
            found = json.loads(self._file(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        held, wanted = found["held"], found["wanted"]
        return DeviceNote(
            path=str(found["path"]),
            state=DeviceState(found["state"]),
            place=Place(**found["place"]),
            held=HeldDisk(**held) if held else None,
            wanted=HeldDisk(**wanted) if wanted else None,
            proof=VolumeProof(found["proof"]),
        )

    def write(self, note: DeviceNote) -> None:
        """Note it. Durable when it returns."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(self._file(Path(note.path)), asdict(note))

    def _file(self, path: Path) -> Path:
        return self.folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
