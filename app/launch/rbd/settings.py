"""Where the images of a target lie, and what they are called."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class RbdSettings:
    """A pool of a Ceph cluster."""

    pool: str
    owner: str
    """The target: stands in each image that is ours."""
    namespace: str | None = None
    prefix: str = "go2cloud-"
    """Of the names of images."""
    conf: Path = Path("/etc/ceph/ceph.conf")
    client: str = "admin"
    keep: int = 3
    """Snapshots of the newest checkpoints that stay."""

    def spec(self, image: str) -> str:
        """An image as rbd names it."""
        place = f"{self.pool}/{self.namespace}" if self.namespace else self.pool
        return f"{place}/{image}"

    def kept(self, disk: str) -> str:
        """The image of a disk."""
        return f"{self.prefix}{disk}"

    def published(self, instance: str, disk: str) -> str:
        """The image of a disk that is published as an instance."""
        return f"{self.prefix}{instance}.{disk}"

    def publishing(self) -> "RbdSettings":
        """The same place, with images of their own to publish from."""
        return replace(self, prefix=f"{self.prefix}publishing.")
