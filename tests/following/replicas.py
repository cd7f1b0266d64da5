"""Getting checkpoints out again, comparing them with what the disks held, and trying their filesystems."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from app.cli.demo.compare import first_difference
from app.client import replicas, servers
from app.contract.resources.checkpoint import Checkpoint, CheckpointDisk
from tests.e2e.deployment import Deployment
from tests.following.live_host import LiveHost, run
from tests.services.loop_disks import LoopDisk


def export(deployment: Deployment, checkpoint: Checkpoint, disk: CheckpointDisk, output: Path) -> Path:
    """A disk of a checkpoint as a file."""
    with deployment.client() as client:
        replicas.export_disk(client, checkpoint, disk, output)
    return output


def checkpoint(deployment: Deployment, server: str, number: int | str = servers.LATEST) -> Checkpoint:
    """A checkpoint of a server."""
    with deployment.client() as client:
        return client.send(servers.checkpoint(server, str(number)))


def disk_of(found: Checkpoint, disk: LoopDisk) -> CheckpointDisk:
    """The part of a checkpoint that is a disk's."""
    return next(each for each in found.disks if each.path == str(disk.device))


def differences(deployment: Deployment, host: LiveHost, folder: Path) -> dict[str, int]:
    """Where the head differs from the disks at the newest freeze, by device; what is omitted is left out.

    The exports stay in `folder`.
    """
    return _against(deployment, host, folder, [host.freezer.witness(at) for at in range(len(host.disks))])


def differences_now(deployment: Deployment, host: LiveHost, folder: Path) -> dict[str, int]:
    """Where the head differs from the disks as they are now."""
    return _against(deployment, host, folder, [disk.device for disk in host.disks])


def _against(deployment: Deployment, host: LiveHost, folder: Path, sources: list[Path]) -> dict[str, int]:
    head = checkpoint(deployment, host.server)
    found = {}
    for disk, source in zip(host.disks, sources, strict=True):
        its = disk_of(head, disk)
        output = export(deployment, head, its, exported(folder, disk, head.number))
        place = first_difference(source, output, (*its.omitted, *its.unreadable))
        if place is not None:
            found[str(disk.device)] = place
    return found


def exported(folder: Path, disk: LoopDisk, number: int) -> Path:
    """Where `differences` leaves the export of a disk."""
    return folder / f"{disk.device.name}-{number}.img"


@contextlib.contextmanager
def attached(image: Path) -> Iterator[LoopDisk]:
    """An image behind a loop device; the image stays."""
    device = Path(run("losetup", "--show", "--find", image).strip())
    try:
        yield LoopDisk(device, image)
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def healthy(image: Path, kind: str, at: Path) -> Iterator[Path]:
    """The filesystem of an image, mounted: its log was replayed, and its checker found nothing after that."""
    with attached(image) as disk:
        with disk.mounted(at):
            pass
        disk.check(kind)
        with disk.mounted(at):
            yield at
