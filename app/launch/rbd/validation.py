"""Whether the settings can work here: each thing that is missing, by its name."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from app.contract.words import FindingSeverity
from app.kit.errors import Go2CloudError
from app.launch.errors import CephRefused
from app.launch.machine import DiskContent
from app.launch.programs import RBD, require_program
from app.launch.rbd.command import RbdCommand
from app.launch.rbd.image import RbdImage
from app.launch.rbd.note import KEY
from app.launch.target import TargetFinding


@dataclass(frozen=True)
class Validation:
    """One look at the settings."""

    command: RbdCommand

    def findings(self) -> tuple[TargetFinding, ...]:
        """What stands in the way, or that nothing does: an image is made and removed again."""
        try:
            require_program(RBD)
            self._require_configuration()
            self._try()
        except Go2CloudError as error:
            return (blocker(error),)
        settings = self.command.settings
        text = f"client.{settings.client} can make images in {settings.spec('').rstrip('/')}"
        return (TargetFinding(FindingSeverity.OK, "POOL_USABLE", text),)

    def _require_configuration(self) -> None:
        conf = self.command.settings.conf
        try:
            with conf.open("rb"):
                return
        except OSError as error:
            raise CephRefused(
                f"{conf} cannot be read: {error.strerror}",
                remedy="put the cluster's ceph.conf there, or name another by the setting `conf`",
            ) from error

    def _try(self) -> None:
        settings = self.command.settings
        image = RbdImage(self.command, f"{settings.prefix}probe.{secrets.token_hex(4)}")
        self.command.run("ls", settings.spec("").rstrip("/"))
        image.claimed()
        try:
            self.command.run("image-meta set", image.spec, KEY, "probe")
        finally:
            image.remove()

    def of_disks(self, disks: tuple[DiskContent, ...]) -> Iterator[TargetFinding]:
        """Blockers about the images that these disks would be written to."""
        for disk in disks:
            error = RbdImage(self.command, self.command.settings.kept(disk.disk)).obstacle()
            if error is not None:
                yield blocker(error)


def blocker(error: Go2CloudError) -> TargetFinding:
    """The finding that an error is."""
    return TargetFinding(FindingSeverity.BLOCKER, error.code, error.detail, error.remedy)
