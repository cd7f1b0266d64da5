"""Layouts that need more than a copy of each disk, and what is done about each.

ZFS is told by its uberblocks (magic 0x00bab10c at a multiple of 1 KiB in the label's second half, 128 KiB
from its start; "ZFS On-Disk Specification", 1.3.3) or by its GPT partition type; the number of a btrfs'
devices stands in its superblock (byte 0x88 of the block at 64 KiB; fs/btrfs/ctree.h).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.family import whole_disk
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.preflight.stack import Kind, foreign
from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.preflight import BLOCKER, NOTE, WARNING, Code, Finding, Preflight

_ZFS_TYPE: Final = "6a898cc3-1dd2-11b2-99a6-080020736631"
_UBERBLOCK: Final = (0x00BAB10C).to_bytes(8, "little"), (0x00BAB10C).to_bytes(8, "big")
_UBERBLOCKS_AT: Final = 128 * 1024
_BTRFS_SUPERBLOCK: Final = 64 * 1024
_BTRFS_DEVICES: Final = 0x88
_NETWORK_TRANSPORTS: Final = frozenset({"tcp", "rdma", "fc"})


@dataclass(frozen=True)
class _About:
    """What is said of a disk on which a layer of some kind stands."""

    code: Code
    severity: str
    text: str
    remedy: str


_LAYERS: Final[Mapping[Kind, _About]] = {
    Kind.LVM: _About(
        Code.LVM,
        NOTE,
        "it carries the {}",
        "the physical disks below are copied with everything on them; nothing needs to be done",
    ),
    Kind.MD: _About(
        Code.MD_RAID,
        NOTE,
        "it is an active member of the {}",
        "each member is copied as it is, and the array assembles on the target; let a resync end first",
    ),
    Kind.MULTIPATH: _About(
        Code.MULTIPATH,
        WARNING,
        "it is one path of the {}",
        "enrol with --disk and the map under /dev/mapper, once, instead of its paths: each path would be "
        "copied as a disk of its own",
    ),
    Kind.CRYPT: _About(
        Code.DM_CRYPT,
        NOTE,
        "it carries the {}",
        "the encrypted bytes are copied, free space too; the target asks for the same passphrase, and a key "
        "bound to this machine's TPM does not open it there: add a passphrase",
    ),
    Kind.DM: _About(
        Code.DM_OTHER,
        NOTE,
        "it carries the {}",
        "the physical disks below are copied; make sure that the target sets the device up",
    ),
    Kind.BCACHE: _About(
        Code.BCACHE,
        WARNING,
        "it belongs to the {}",
        "replicate backing and cache disk together, or set the cache to writethrough and detach it before "
        "the cutover: dirty data in the cache would be missing",
    ),
    Kind.DRBD: _About(
        Code.DRBD,
        WARNING,
        "it carries the {}",
        "the disk below is copied with DRBD's metadata; disable the resource before the target's first boot, "
        "or it would join its peers as a second copy of this host",
    ),
}


def check_layouts(subject: Subject, report: Preflight) -> Preflight:
    """Findings only."""
    found = [finding for disk in subject.disks for each in _CHECKS for finding in each(subject, disk)]
    return replace(report, findings=(*report.findings, *found, *_root(subject)))


def _layers(_: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    for layer in disk.layers:
        about = _LAYERS[layer.kind]
        yield Finding(about.code, about.severity, disk.path, about.text.format(layer)[:1000], about.remedy)


def _incomplete(subject: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    for layer, missing in foreign(disk.layers, subject.device_names).items():
        yield _not_whole(disk, f"the {layer} also needs {', '.join(missing)}, which are not replicated")


def _not_whole(disk: SubjectDisk, text: str) -> Finding:
    remedy = "enrol with all disks that belong together: the replica could not be assembled"
    return Finding(Code.STACK_INCOMPLETE, BLOCKER, disk.path, text[:1000], remedy)


def _zfs(_: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    parts = disk.source.disk.partitions
    starts = [part.start for part in parts if part.filesystem is None] or ([] if parts else [0])
    typed = any(part.type.lower() == _ZFS_TYPE for part in parts)
    if typed or any(is_zfs(disk.source.reader, start) for start in starts):
        remedy = (
            "the whole disk is copied, but ZFS cannot be frozen: stop what writes and export the pool, or "
            "shut services down, before the cutover, so that its checkpoint is quiet"
        )
        yield Finding(Code.ZFS, WARNING, disk.path, "it belongs to a ZFS pool", remedy)


def is_zfs(reader: DiskReader, start: int) -> bool:
    """Whether a ZFS label stands at this byte of the disk."""
    area = reader.read_at(start + _UBERBLOCKS_AT, 128 * 1024)
    return any(area[at : at + 8] in _UBERBLOCK for at in range(0, len(area), 1024))


def _btrfs(subject: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    for place in disk.source.layout.places:
        if place.kind == "btrfs" and (wanted := btrfs_devices(disk.source.reader, place.start)) > 1:
            own = _btrfs_id(disk, place.start)
            there = sum(
                _btrfs_id(other, each.start) == own
                for other in subject.disks
                for each in other.source.layout.places
                if each.kind == "btrfs"
            )
            if there < wanted:
                yield _not_whole(disk, f"a btrfs has {wanted} devices, of which {there} are replicated")
            yield Finding(
                Code.BTRFS_MULTI_DEVICE,
                NOTE,
                disk.path,
                f"it is one of {wanted} devices of a btrfs",
                "all of its disks are copied and cut at one instant; nothing needs to be done",
            )


def btrfs_devices(reader: DiskReader, start: int) -> int:
    """How many devices the btrfs at this byte of the disk has."""
    return int.from_bytes(reader.read_at(start + _BTRFS_SUPERBLOCK + _BTRFS_DEVICES, 8), "little")


def _btrfs_id(disk: SubjectDisk, start: int) -> bytes:
    return disk.source.reader.read_at(start + _BTRFS_SUPERBLOCK + 32, 16)


def _swap(_: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    for place in disk.source.layout.places:
        if place.kind == "swap":
            yield Finding(
                Code.SWAP,
                NOTE,
                disk.path,
                f"{place.size} bytes of it are swap space",
                "its content is of no use on the target; should that miss it: mkswap with the same UUID",
            )


def _read_only(_: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    reader = disk.source.reader
    if reader.is_file:
        return
    if (whole_disk(reader.status().st_rdev) / "ro").read_text().strip() == "1":
        text, remedy = "it is read-only", "it is copied once, and costs nothing afterwards"
        yield Finding(Code.READ_ONLY, NOTE, disk.path, text, remedy)


def _read_only_mounts(subject: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    for each in subject.mounted_on(disk):
        if each.is_read_only and not each.depth:
            yield Finding(
                Code.READ_ONLY,
                NOTE,
                each.target[:1024],
                f"the {each.kind} is mounted read-only",
                "if that is not meant, see the kernel's log: errors=remount-ro leaves a damaged one so",
            )


def _network(subject: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    reader = disk.source.reader
    way = "" if reader.is_file else network_of(whole_disk(reader.status().st_rdev))
    if way:
        is_root = subject.root is not None and disk.key in subject.root.disks
        yield Finding(
            Code.NETWORK_DISK,
            WARNING if is_root else NOTE,
            disk.path,
            f"it is reached through the network ({way})"
            + (" and holds the root filesystem" if is_root else ""),
            "it is copied like a local disk; on the target take the initiator out of the initramfs and of "
            "the boot settings, or two machines would write to the same disk",
        )


def network_of(directory: Path) -> str:
    """How a disk is reached if not locally, by its /sys directory: iSCSI, NVMe-oF, nbd, rbd; else empty."""
    if any(part.startswith("session") and part[7:].isdigit() for part in directory.parts):
        return "iSCSI"
    for transport in (*directory.glob("device/transport"), *directory.glob("device/nvme*/transport")):
        if transport.read_text().strip() in _NETWORK_TRANSPORTS:
            return f"NVMe over {transport.read_text().strip()}"
    return next((kind for kind in ("nbd", "rbd") if directory.name.startswith(kind)), "")


def _unknown(_: Subject, disk: SubjectDisk) -> Iterator[Finding]:
    found = disk.source.disk
    if not (found.partitions or found.filesystem or disk.layers):
        yield Finding(
            Code.UNKNOWN_LAYOUT,
            NOTE,
            disk.path,
            "nothing known stands on it",
            "it is read whole; leave it out with --disk if it is not needed",
        )


def _root(subject: Subject) -> Iterator[Finding]:
    if subject.disks and subject.root is None:
        yield Finding(
            Code.ROOT_NOT_REPLICATED,
            WARNING,
            "/",
            "this host's root filesystem is not on a disk that is replicated",
            "the replica cannot be booted as this host; enrol without --disk, or name the root disk as well",
        )


_CHECKS: Final[tuple[Callable[[Subject, SubjectDisk], Iterator[Finding]], ...]] = (
    _unknown,
    _layers,
    _incomplete,
    _zfs,
    _btrfs,
    _swap,
    _read_only,
    _read_only_mounts,
    _network,
)
