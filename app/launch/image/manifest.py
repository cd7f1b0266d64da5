"""What lies beside published images, in a folder (of a bucket see `bucket`).

    <folder>/<instance>/
        <disk>.<format> …     the images
        SHA256SUMS            for `sha256sum --check`
        manifest.json         the order, and for each image its disk, root, format, sizes and sum

The manifest is written last; the folder gets its name when all of it is on stable storage.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import ImageFormat
from app.launch.boot.proof import document
from app.launch.durable import json_text, sync, write_json
from app.launch.errors import InstanceDiffers
from app.launch.machine import LaunchOrder, Volume
from app.launch.threads import Stop

VERSION: Final = 1
SUMS: Final = "SHA256SUMS"
MANIFEST: Final = "manifest.json"
_PIECE: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Image:
    """One published file."""

    file: str
    format: ImageFormat
    disk: str
    root: str
    """The checkpoint's root hash of the disk, hexadecimal."""
    disk_size: int
    file_size: int
    sha256: str

    @classmethod
    def of(cls, path: Path, format_: ImageFormat, volume: Volume, stop: Stop) -> "Image":
        """Read a finished file of a volume. Raises LaunchStopped."""
        size, digest = path.stat().st_size, sha256_of(path, stop)
        return cls(path.name, format_, volume.disk, volume.root, volume.size, size, digest)


@dataclass(frozen=True)
class Manifest:
    """What a folder of images holds."""

    version: int
    instance: str
    order: LaunchOrder
    images: tuple[Image, ...]

    def sums(self) -> str:
        """What `sha256sum --check` reads."""
        return "".join(f"{image.sha256}  {image.file}\n" for image in self.images)

    def text(self) -> str:
        """The manifest as its file has it."""
        return json_text(document(self))

    def write(self, folder: Path) -> None:
        """Write sums and manifest. Durable when it returns."""
        sums = folder / SUMS
        sums.write_text(self.sums(), encoding="utf-8")
        sync(sums)
        write_json(folder / MANIFEST, document(self))


@dataclass(frozen=True)
class Published:
    """A manifest that was read, as far as it is needed again."""

    order: str
    """The order in one canonical form, for comparison."""
    sums: tuple[tuple[str, str], ...]
    """Each file and its SHA-256."""

    @classmethod
    def parse(cls, text: bytes, where: str) -> "Published":
        """Of a manifest's file, at `where`. Raises InstanceDiffers where it is none of ours."""
        try:
            found = json.loads(text)
            sums = tuple((str(image["file"]), str(image["sha256"])) for image in found["images"])
            return cls(json.dumps(found["order"], sort_keys=True), sums)
        except (ValueError, LookupError, TypeError) as error:
            raise InstanceDiffers(
                f"{where} is no manifest that go2cloud wrote",
                remedy="look whose it is and take it away, or let the target write to another place",
            ) from error


def order_text(order: LaunchOrder) -> str:
    """An order in the form of `Published.order`."""
    return json.dumps(document(order), sort_keys=True)


def sha256_of(path: Path, stop: Stop) -> str:
    """The SHA-256 of a file, hexadecimal. Raises LaunchStopped."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            stop.check()
            digest.update(piece)
    return digest.hexdigest()
