"""What an image says of itself, in its metadata: whose it is and what it holds. Any node can read it.

An image without a note is a stranger's, but for one of no bytes and no snapshots: that is left where a call
was cut off between making an image and its first note.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from app.kit.errors import Json
from app.launch.device.note import DeviceState, HeldDisk
from app.launch.machine import DiskContent
from app.launch.volumenote import VolumeProof
from app.wire.messages import Range

KEY: Final = "go2cloud"


@dataclass(frozen=True)
class ImageNote:
    """The note of one image. For the states see `DeviceState`."""

    owner: str
    state: DeviceState
    held: HeldDisk | None = None
    wanted: HeldDisk | None = None
    masked: tuple[Range, ...] = ()
    """Of the held disk: read as zeros when roots are compared."""
    snapshot: int | None = None
    """Ceph's id of the held disk's snapshot: one of the same name that was made later is another."""
    kept: tuple[str, ...] = ()
    """Our snapshots, the oldest first."""
    proof: VolumeProof = VolumeProof.OWN_BYTES
    order: Json = None
    """What is published, in an image that is."""

    def holds(self, root: str) -> bool:
        """Whether the image was verified to be the disk with this root."""
        return self.state is DeviceState.HOLDS and self.held is not None and self.held.root == root

    @property
    def content(self) -> DiskContent:
        """The held disk, for a driver."""
        assert self.held is not None, "it holds one"
        held = self.held
        return DiskContent(
            held.checkpoint,
            held.disk,
            held.size,
            bytes.fromhex(held.root),
            self.masked,
            held.sector_size,
            held.chunk_size,
        )

    def encode(self) -> str:
        """The note as the metadata has it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> "ImageNote | None":
        """The note; None where somebody else wrote something else there."""
        try:
            found = json.loads(text)
            return cls(
                owner=str(found["owner"]),
                state=DeviceState(found["state"]),
                held=HeldDisk(**found["held"]) if found["held"] else None,
                wanted=HeldDisk(**found["wanted"]) if found["wanted"] else None,
                masked=tuple((int(at), int(length)) for at, length in found["masked"]),
                snapshot=found["snapshot"],
                kept=tuple(found["kept"]),
                proof=VolumeProof(found["proof"]),
                order=found["order"],
            )
        except (ValueError, KeyError, TypeError):
            return None
