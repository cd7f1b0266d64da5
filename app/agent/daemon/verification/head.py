"""The head as a verification compares with it: it may move meanwhile, so all is asked for by its id."""

from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.errors import Refusal
from app.agent.daemon.verification.calls import VerificationCalls
from app.wire.chunks import ID_BYTES
from app.wire.tree import LEAF_IDS
from app.wire.verification import CheckpointRoot

GONE: Final = "CHECKPOINT_NOT_FOUND"


class Head:
    """The newest checkpoint that is known. Raises what VerificationCalls raises."""

    def __init__(self, calls: VerificationCalls) -> None:
        self._calls = calls
        self._roots = calls.head()
        self._zeros: tuple[str, Extents] | None = None
        self._leaf: tuple[str, int, bytes] | None = None

    @property
    def checkpoint_id(self) -> str:
        """Its id."""
        return self._roots.checkpoint_id

    @property
    def disks(self) -> tuple[CheckpointRoot, ...]:
        """The disks that it holds."""
        return self._roots.disks

    def refresh(self) -> bool:
        """Ask again which one is the newest; whether it is another one now."""
        roots = self._calls.head()
        has_moved = roots.checkpoint_id != self._roots.checkpoint_id
        if has_moved:
            self._roots, self._zeros, self._leaf = roots, None, None
        return has_moved

    def disk(self, key: str) -> CheckpointRoot | None:
        """What it says of a disk; None where it lacks the disk."""
        return next((disk for disk in self._roots.disks if disk.key == key), None)

    def zeros(self, disk: CheckpointRoot) -> Extents:
        """The ranges of the disk that are zeros in the replica, whatever the source holds there."""
        if self._zeros is None or self._zeros[0] != disk.disk_id:
            found = self._calls.left_out(self.checkpoint_id, disk.disk_id)
            self._zeros = disk.disk_id, Extents.of_ranges((*found.omitted, *found.unreadable))
        return self._zeros[1]

    def chunk_id(self, disk: CheckpointRoot, number: int) -> bytes:
        """The id of a chunk of the disk. Raises Refusal LEAVES_UNREADABLE."""
        index, at = number // LEAF_IDS, number % LEAF_IDS * ID_BYTES
        if self._leaf is None or self._leaf[:2] != (disk.disk_id, index):
            ids = self._calls.leaf(self.checkpoint_id, disk.disk_id, index)
            self._leaf = disk.disk_id, index, ids
        return self._leaf[2][at : at + ID_BYTES]


def is_gone(error: Refusal) -> bool:
    """Whether the checkpoint was dropped meanwhile: then there is a newer one."""
    return error.code == GONE
