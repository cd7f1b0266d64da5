"""A pool of a real Ceph for targets, and what lies in it."""

import json
import subprocess
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.launch.rbd.driver import RbdTarget
from app.launch.rbd.note import KEY
from app.launch.rbd.settings import RbdSettings
from tests.services.ceph_cluster import PACKAGES, Ceph
from tests.services.processes import required_binary


@dataclass(frozen=True)
class Pool:
    """A pool, and the settings of a target that has some names in it for itself."""

    ceph: Ceph
    settings: RbdSettings

    @property
    def target(self) -> RbdTarget:
        """A driver with these settings, as another process has it."""
        return RbdTarget(self.settings)

    def rbd(self, *arguments: str) -> str:
        return self.ceph.run("rbd", *arguments)

    def listed(self, *arguments: str) -> Any:
        return json.loads(self.rbd(*arguments, "--format", "json"))

    def images(self) -> list[str]:
        names = self.listed("ls", self.settings.pool)
        return sorted(each for each in names if each.startswith(self.settings.prefix))

    def snapshots(self, image: str) -> list[str]:
        return [each["name"] for each in self.listed("snap", "ls", self.settings.spec(image))]

    def published(self) -> list[str]:
        """The instances that there is anything of."""
        specs = [self.settings.spec(image) for image in self.images()]
        notes = [json.loads(self.rbd("image-meta", "get", spec, KEY)) for spec in specs]
        return sorted({note["order"]["instance"] for note in notes if note["order"]})

    def read(self, spec: str | Path) -> bytes:
        """All bytes of an image or snapshot, by rbd's own export."""
        return subprocess.run(
            [required_binary("rbd", PACKAGES), "-c", str(self.ceph.conf), "export", str(spec), "-"],
            check=True,
            capture_output=True,
        ).stdout

    def write(self, spec: str, content: bytes, at: int = 0) -> None:
        """Write to an image as a stranger does, through qemu."""
        place = f"rbd:{spec}:conf={self.ceph.conf}"
        for offset, byte in enumerate(content, start=at):
            command = f"write -P {byte} {offset} 1"
            program = required_binary("qemu-io", "qemu-utils qemu-block-extra")
            subprocess.run([program, "-f", "raw", "-c", command, place], check=True, capture_output=True)


def pool_of(ceph: Ceph, name: str) -> Pool:
    """Names in the pool that nobody else has."""
    return Pool(ceph, RbdSettings(name, "tgt-1", prefix=f"{uuid.uuid4().hex[:8]}-", conf=ceph.conf))


def with_settings(pool: Pool, /, **changes: Any) -> Pool:
    """The same pool with other settings."""
    return replace(pool, settings=replace(pool.settings, **changes))
