"""Tracking whose writes and gaps a test decides: real dirty sets, no kernel."""

from collections.abc import Callable, Sequence
from pathlib import Path

from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.disks import TrackedDisk


class FakeTracking:
    """See `following.tracking.Tracking`. `at_drain` are done at the next drains, one at each."""

    def __init__(self, folder: Path, size: int, *keys: str) -> None:
        self._dirty = {key: DirtyMap(folder / f"{key}.dirty", size) for key in keys}
        self._beginnings = dict.fromkeys(keys, 0)
        self.gaps = dict.fromkeys(keys, "")
        self.at_drain: list[Callable[[], None]] = []
        self.writing = False

    def start(self, disks: Sequence[TrackedDisk]) -> None:
        """Nothing is to be started."""

    def track(self, disks: Sequence[TrackedDisk]) -> None:
        """All keys are tracked."""

    def close(self, keep: bool) -> None:
        """Let go of the files."""
        for dirty in self._dirty.values():
            dirty.close()

    def drain(self) -> None:
        """What happens at this moment."""
        if self.at_drain:
            self.at_drain.pop(0)()

    def gap_of(self, key: str) -> str:
        """As the test set it."""
        return self.gaps[key]

    def restart(self, key: str) -> None:
        """Begin anew."""
        self._dirty[key].clean()
        self._beginnings[key] += 1
        self.gaps[key] = ""

    def identity_of(self, key: str) -> str:
        """The number of the beginning."""
        return f"boot/instance/{self._beginnings[key]}"

    def is_writing(self, key: str) -> bool:
        """As the test set it."""
        return self.writing

    def dirty_of(self, key: str) -> DirtyMap:
        """The disk's dirty sets."""
        return self._dirty[key]
