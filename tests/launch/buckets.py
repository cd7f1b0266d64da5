"""A bucket of a real Ceph for images, and what lies in it."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import obstore

from app.contract.words import ImageFormat
from app.launch.bucket.client import BucketClient
from app.launch.bucket.settings import BucketSettings
from app.launch.image.bucket import BucketPlace
from app.launch.image.driver import ImageSettings, ImageTarget
from app.launch.machine import LaunchOrder
from app.store.s3place import S3Place

PART = 5 << 20
"""The least that S3 takes, of all parts but the last."""


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket that nobody else has, and the settings of images there."""

    settings: BucketSettings
    store: S3Place
    """The same prefix for the store's client, which looks at what ours wrote."""
    work: Path

    def target(self, *formats: ImageFormat) -> ImageTarget:
        """A driver with these settings, as another process has it."""
        place = BucketPlace(self.settings, self.work / "images")
        return ImageTarget(ImageSettings(place, self.work, formats or (ImageFormat.RAW,)))

    def names(self) -> list[str]:
        """All keys below the prefix, without it."""
        return sorted(item["path"] for page in obstore.list(self.store.connect()) for item in page)

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self.store.connect(), name).bytes())

    def write(self, name: str, data: bytes) -> None:
        """Write as a stranger does."""
        obstore.put(self.store.connect(), name, data, use_multipart=False)

    def uploads(self) -> list[str]:
        """The keys of the uploads that were begun and not ended."""
        with BucketClient(self.settings) as client:
            return [upload.key for upload in client.uploads(self.settings.prefix)]


def bucket_of(shared: S3Place, folder: Path) -> Bucket:
    """A prefix of the bucket for one test, with its keys in a file below `folder`."""
    store = replace(shared, prefix=f"images/{uuid4().hex}")
    file = folder / "credentials"
    file.write_text(
        f"[ceph]\naws_access_key_id = {store.access_key}\naws_secret_access_key = {store.secret_key}\n"
    )
    settings = BucketSettings(
        store.bucket, store.prefix, store.endpoint, store.region, "ceph", file, part_bytes=PART
    )
    return Bucket(settings, store, folder / "work")


def with_settings(bucket: Bucket, /, **changes: object) -> Bucket:
    """The same bucket with other settings."""
    return replace(bucket, settings=replace(bucket.settings, **changes))  # type: ignore[arg-type]


def publish(target: ImageTarget, order: LaunchOrder) -> None:
    """What a process that is to be killed does."""
    asyncio.run(target.launch(order))
