"""Images in a bucket that speaks S3.

    <prefix>/<instance>/<disk>.<format> …     the images, each proved to be what was made
    <prefix>/<instance>/SHA256SUMS
    <prefix>/<instance>/manifest.json         written last, removed first

An image is made on the node, sent, and removed there before the next one is made. What a process that was
killed left, objects and uploads that were not completed, goes when the instance is begun anew or removed.
"""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.bucket.client import BucketClient
from app.launch.bucket.settings import BucketSettings
from app.launch.bucket.uploading import Uploading, digest_of
from app.launch.errors import BucketRefused
from app.launch.image.folder import require_usable
from app.launch.image.manifest import MANIFEST, SUMS, Image, Manifest, Published
from app.launch.threads import Stop

_PROBE: Final = b"go2cloud looked whether it can write here"


@dataclass(frozen=True)
class BucketPublication:
    """See `Publication`: images are sent one by one."""

    client: BucketClient
    folder: Path
    start: str
    """What the instance's keys begin with."""

    def add(self, image: Image) -> None:
        """See `Publication.add`. Raises UploadDiffers, BucketUnreachable, BucketRefused, BucketFull."""
        path = self.folder / image.file
        Uploading(self.client, path, self.start + image.file, image.sha256).run()
        path.unlink()

    def finish(self, manifest: Manifest) -> None:
        """See `Publication.finish`."""
        self.client.put(self.start + SUMS, manifest.sums().encode())
        self.client.put(self.start + MANIFEST, manifest.text().encode())


@dataclass(frozen=True)
class BucketPlace:
    """See `ImagePlace`."""

    settings: BucketSettings
    scratch: Path
    """Where images are made on the node."""

    def validate(self) -> None:
        """See `ImagePlace.validate`. Does all that publishing does, with an object of a few bytes."""
        require_usable(self.scratch)
        with BucketClient(self.settings) as client:
            start = self.settings.key(f"go2cloud-probe-{secrets.token_hex(8)}")
            client.keys(start)
            try:
                client.put(start, _PROBE)
                found = client.get(start)
                client.begin(start, {})
            finally:
                _remove(client, start)
        if found != _PROBE:
            raise BucketRefused(
                f"{self.settings} does not give back what was written there",
                remedy="correct the target's settings bucket and endpoint, or look at the object storage",
            )

    def address(self, instance: str) -> str:
        """See `ImagePlace.address`."""
        return f"{self.settings}/{instance}"

    def folder(self, instance: str) -> Path:
        """See `ImagePlace.folder`."""
        return Path(self.settings.bucket, self.settings.key(instance))

    def bytes_needed(self, sizes: Sequence[int], formats: int) -> int:  # noqa: ARG002  (the interface)
        """See `ImagePlace.bytes_needed`."""
        return max(sizes, default=0)

    def room(self) -> Path:
        """See `ImagePlace.room`."""
        return self.scratch

    def published(self, instance: str) -> Published | None:
        """See `ImagePlace.published`."""
        with BucketClient(self.settings) as client:
            found = client.get(self._start(instance) + MANIFEST)
        return None if found is None else Published.parse(found, f"{self.address(instance)}/{MANIFEST}")

    @contextmanager
    def publishing(self, instance: str, stop: Stop) -> Iterator[BucketPublication]:
        """See `ImagePlace.publishing`."""
        folder = self._scratch(instance)
        with BucketClient(self.settings, stop) as client:
            self._clear(client, instance)
            try:
                folder.mkdir(parents=True, mode=0o700)
                yield BucketPublication(client, folder, self._start(instance))
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def is_right(self, instance: str, name: str, sha256: str, stop: Stop) -> bool:
        """See `ImagePlace.is_right`."""
        key = self._start(instance) + name
        with BucketClient(self.settings, stop) as client:
            return key in client.keys(key) and digest_of(client, key) == sha256

    def remove(self, instance: str) -> bool:
        """See `ImagePlace.remove`."""
        with BucketClient(self.settings) as client:
            return self._clear(client, instance)

    def _clear(self, client: BucketClient, instance: str) -> bool:
        start = self._start(instance)
        shutil.rmtree(self._scratch(instance), ignore_errors=True)
        if is_shown := client.get(start + MANIFEST) is not None:
            client.delete(start + MANIFEST)
        return _remove(client, start) or is_shown

    def _start(self, instance: str) -> str:
        return self.settings.key(f"{instance}/")

    def _scratch(self, instance: str) -> Path:
        return self.scratch / instance


def _remove(client: BucketClient, start: str) -> bool:
    """Remove all that begins so; whether there was anything. Uploads go first: none is an object later."""
    uploads = client.uploads(start)
    for upload in uploads:
        client.abort(upload)
    keys = client.keys(start)
    for key in keys:
        client.delete(key)
    return bool(uploads or keys)
