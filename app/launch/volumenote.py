"""The note beside a volume: what a launch believes of it."""

import json
from enum import StrEnum
from pathlib import Path

from app.kit.errors import Json
from app.launch.durable import write_json
from app.launch.errors import VolumeUnproved
from app.launch.machine import Volume


class VolumeProof(StrEnum):
    """What a volume's root is known from.

    `OWN_BYTES`: it was recomputed from all of the volume's bytes (level v4). `CHANGES`: it was the older disk
    by its own bytes, and every place that differs between the two trees was read back from the storage.
    """

    OWN_BYTES = "OWN_BYTES"
    CHANGES = "CHANGES"


def require_proved(volume: Volume) -> None:
    """Make sure that the volume's file is the one that was verified as this root. Raises VolumeUnproved."""
    found = noted(volume.path)
    if found is None or not _identity(volume).items() <= found.items():
        changing = volume.path.with_suffix(".change").exists()
        state = "is on its way to another checkpoint" if changing else "was never verified"
        raise VolumeUnproved(
            f"the volume {volume.path} {state if found is None else 'changed since it was verified'}",
            remedy="drop it and materialise the checkpoint again",
        )


def proof_of(volume: Volume) -> VolumeProof:
    """What the volume's root is known from. Raises VolumeUnproved."""
    require_proved(volume)
    found = noted(volume.path) or {}
    return VolumeProof(str(found.get("proof", VolumeProof.OWN_BYTES)))


def note_volume(volume: Volume, proof: VolumeProof) -> None:
    """Note that the volume's file, as it is now, is its disk. Durable."""
    volume.path.chmod(0o400)
    write_json(volume.path.with_suffix(".json"), {**_identity(volume), "proof": proof})


def noted(path: Path) -> dict[str, Json] | None:
    """The note of the volume at `path`, if there is one."""
    try:
        found: dict[str, Json] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _identity(volume: Volume) -> dict[str, Json]:
    """What the note says of the file as it is now; a missing file has no inode."""
    found = volume.path.stat() if volume.path.exists() else None
    return {
        "disk": volume.disk,
        "root": volume.root,
        "size": volume.size,
        "inode": found.st_ino if found else 0,
        "bytes": found.st_size if found else 0,
        "changed": found.st_mtime_ns if found else 0,
    }
