"""Where images go: the seam between the driver and a folder, or a bucket.

A place shows an instance whole or not at all: what has a manifest is whole. Work that takes long ends with
LaunchStopped when its `stop` is told.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from app.launch.image.manifest import Image, Manifest, Published
from app.launch.threads import Stop


class Publication(Protocol):
    """An instance on its way to a place."""

    @property
    def folder(self) -> Path:
        """The folder of the node in which images are made."""

    def add(self, image: Image) -> None:
        """Take a finished image out of the folder, or keep it there for `finish`."""

    def finish(self, manifest: Manifest) -> None:
        """Show the instance. Durable when it returns."""


class ImagePlace(Protocol):
    """Where images go. All of it blocks; a bucket raises LaunchErrors, a folder OSErrors as well."""

    def validate(self) -> None:
        """Look whether images can be written, read and removed there. Leaves nothing."""

    def address(self, instance: str) -> str:
        """Where an instance is, for people; empty where that is its folder."""

    def folder(self, instance: str) -> Path:
        """Where the images of an instance are; in a bucket, bucket and key as a path."""

    def bytes_needed(self, sizes: Sequence[int], formats: int) -> int:
        """In `room`, at most, for the images of disks of these sizes."""

    def room(self) -> Path:
        """The folder in which `bytes_needed` are needed, there or not."""

    def published(self, instance: str) -> Published | None:
        """The manifest of an instance, or None where it is not shown."""

    def publishing(self, instance: str, stop: Stop) -> AbstractContextManager[Publication]:
        """Begin an instance anew; what was begun before is removed. The caller holds the instance's lock."""

    def is_right(self, instance: str, name: str, sha256: str, stop: Stop) -> bool:
        """Whether an image of an instance, read again, has this sum."""

    def remove(self, instance: str) -> bool:
        """Remove an instance, shown or not; whether there was anything."""
