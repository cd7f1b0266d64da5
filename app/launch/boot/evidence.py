"""The folder in which a boot's evidence lies; it outlives the machine.

screen-0001.png …   screenshots over time, the last one is the proof
thumbnail.png       the last one, small
serial.log          the end of what the machine wrote to its serial line
phases.json         which start of the machine it is and when which phase was first seen, for a watch that is
                    begun again
proof.json          the result
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.contract.words import BootPhase
from app.kit.errors import Json
from app.launch.boot.proof import BootProof, Screenshot, document
from app.launch.boot.screen import Picture
from app.launch.durable import sync, write_json

MOST_PICTURES: Final = 16
MOST_SERIAL: Final = 1024 * 1024
THUMBNAIL: Final = 320
THUMBNAIL_FILE: Final = "thumbnail.png"


@dataclass
class Evidence:
    """What was kept so far."""

    folder: Path
    pictures: list[Screenshot] = field(default_factory=list)
    _number: int = 0
    _start: str = ""

    def begin(self, start: str = "") -> dict[BootPhase, float]:
        """Make the folder, drop the pictures of a watch that was cut off, and return the phases it saw.

        `start` says which start of the machine it is (`Console.start`): what was seen of another one is
        dropped. Empty for what is no machine and has no phases.
        """
        self._start = start
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in (*self.folder.glob("screen-*.png"), self.folder / THUMBNAIL_FILE):
            old.unlink(missing_ok=True)
        phases = self.folder / "phases.json"
        if not phases.exists():
            return {}
        found = json.loads(phases.read_text())
        if found.get("start") != start:
            phases.unlink()
            return {}
        return {BootPhase(name): float(after) for name, after in found["phases"].items()}

    def keep_phases(self, phases: dict[BootPhase, float]) -> None:
        """Note when which phase was first seen."""
        seen: dict[str, Json] = {phase.value: after for phase, after in phases.items()}
        write_json(self.folder / "phases.json", {"start": self._start, "phases": seen})

    def keep_picture(self, picture: Picture, after: float) -> Screenshot:
        """Add a screenshot; of many, every second one of the older ones goes, the first and the last stay."""
        self._number += 1
        data, name = picture.png(), f"screen-{self._number:04}.png"
        _write(self.folder / name, data)
        shot = Screenshot(
            name,
            hashlib.sha256(data).hexdigest(),
            picture.width,
            picture.height,
            round(after, 2),
            picture.blank,
        )
        self.pictures.append(shot)
        if len(self.pictures) > MOST_PICTURES:
            for old in self.pictures[1:-1:2]:
                (self.folder / old.file).unlink(missing_ok=True)
            self.pictures = [*self.pictures[:-1:2], shot]
        return shot

    def keep_thumbnail(self, picture: Picture) -> str:
        """Write the last picture small."""
        _write(self.folder / THUMBNAIL_FILE, picture.thumbnail(THUMBNAIL).png())
        return THUMBNAIL_FILE

    def keep_serial(self, log: Path) -> bytes:
        """Copy the end of the serial log; returns it."""
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_SERIAL))
            data = file.read(MOST_SERIAL)
        _write(self.folder / "serial.log", data)
        return data

    def keep_proof(self, proof: BootProof) -> None:
        """Write the result, when everything that it names is on stable storage."""
        write_json(self.folder / "proof.json", document(proof))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sync(path)
