"""Images in a folder, local or mounted: an instance is a folder that gets its name when it is whole."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.launch.durable import sync
from app.launch.image.manifest import MANIFEST, Image, Manifest, Published, sha256_of
from app.launch.threads import Stop


def require_usable(folder: Path) -> None:
    """Make the folder and see that files can be made in it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    with tempfile.TemporaryFile(dir=folder):
        pass


@dataclass(frozen=True)
class FolderPublication:
    """See `Publication`: a folder that is renamed."""

    folder: Path
    final: Path

    def add(self, image: Image) -> None:
        """See `Publication.add`."""

    def finish(self, manifest: Manifest) -> None:
        """See `Publication.finish`."""
        manifest.write(self.folder)
        sync(self.folder)
        self.folder.rename(self.final)
        sync(self.final.parent)


@dataclass(frozen=True)
class FolderPlace:
    """See `ImagePlace`."""

    path: Path
    """One folder an instance; it may be shared with others."""

    def validate(self) -> None:
        """See `ImagePlace.validate`."""
        require_usable(self.path)

    def address(self, instance: str) -> str:  # noqa: ARG002  (the interface)
        """See `ImagePlace.address`."""
        return ""

    def folder(self, instance: str) -> Path:
        """See `ImagePlace.folder`."""
        return self.path / instance

    def bytes_needed(self, sizes: Sequence[int], formats: int) -> int:
        """See `ImagePlace.bytes_needed`."""
        return sum(sizes) * formats

    def room(self) -> Path:
        """See `ImagePlace.room`."""
        return self.path

    def published(self, instance: str) -> Published | None:
        """See `ImagePlace.published`."""
        manifest = self.folder(instance) / MANIFEST
        try:
            return Published.parse(manifest.read_bytes(), str(manifest))
        except FileNotFoundError:
            return None

    @contextmanager
    def publishing(self, instance: str, stop: Stop) -> Iterator[FolderPublication]:  # noqa: ARG002  (the interface)
        """See `ImagePlace.publishing`."""
        fresh = self._partial(instance)
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(parents=True, mode=0o750)
            yield FolderPublication(fresh, self.folder(instance))
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def is_right(self, instance: str, name: str, sha256: str, stop: Stop) -> bool:
        """See `ImagePlace.is_right`."""
        path = self.folder(instance) / name
        return path.is_file() and sha256_of(path, stop) == sha256

    def remove(self, instance: str) -> bool:
        """See `ImagePlace.remove`."""
        folder, fresh = self.folder(instance), self._partial(instance)
        there = folder.exists() or fresh.exists()
        if folder.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            folder.rename(fresh)
        if fresh.exists():
            shutil.rmtree(fresh)
            sync(fresh.parent)
        return there

    def _partial(self, instance: str) -> Path:
        """Where images are made, and taken away from; never a name of an instance, which begins otherwise."""
        return self.path / f".{instance}.partial"
