"""The filesystems on the disks: whether a cut can freeze each, and whether its free space is known.

Whether one freezes is told by its kind and the way it is mounted: nothing is frozen to find out. The kinds
are those whose driver has `freeze_fs` or `freeze_super`, without which the kernel refuses FIFREEZE
(ioctl_fsfreeze in fs/ioctl.c).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from app.agent.daemon.capture.free_space.finder import FreeMap
from app.agent.daemon.disk.mounts import MountLine
from app.agent.daemon.preflight.subject import MountedOn, Subject, SubjectDisk
from app.wire.preflight import NOTE, WARNING, Code, FilesystemCheck, Finding, Preflight

FREEZABLE: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "nilfs2", "gfs2", "bcachefs"}
)
SYNCED: Final = frozenset({"vfat", "msdos", "exfat"})
"""Boot filesystems, which hardly change: they are synced before a cut, and read."""
_CONTAINERS: Final = frozenset({"swap", "LVM2_member", "linux_raid_member", "crypto_LUKS"})
"""What superblocks tell of and no filesystem is."""


def freezing(line: MountLine) -> tuple[bool, str]:
    """Whether the mounted filesystem can be held still, and why."""
    if "ro" in line.options.split(","):
        return True, "it is mounted read-only: nothing is written to it"
    if line.kind in FREEZABLE:
        return True, f"{line.kind} can be frozen (not tried)"
    if line.kind in SYNCED:
        return False, f"{line.kind} cannot be frozen: it is synced instead"
    return False, f"{line.kind} is not known to be frozen by the kernel"


def check_filesystems(subject: Subject, report: Preflight) -> Preflight:
    """Fill in filesystems."""
    found = [*_unmounted(subject), *(_mounted(each) for each in subject.mounted), *_of_pools(subject)]
    findings = [finding for each in found for finding in _findings(each)]
    return replace(report, filesystems=tuple(found), findings=(*report.findings, *findings))


def _unmounted(subject: Subject) -> Iterator[FilesystemCheck]:
    for disk in subject.disks:
        taken = {each.start for each in subject.mounted if each.disk == disk}
        for free in disk.free:
            if free.place.start not in taken and free.place.kind not in _CONTAINERS:
                yield FilesystemCheck(
                    disk=disk.key,
                    kind=free.place.kind,
                    device=_device(disk, free),
                    mount_point="",
                    freezes=True,
                    freeze_note="it is not mounted",
                    free_map=not free.reason,
                    free_map_note=_map_note(free),
                )


def _mounted(each: MountedOn) -> FilesystemCheck:
    freezes, note = freezing(each.line)
    free = next((one for one in each.disk.free if one.place.start == each.start), None)
    return FilesystemCheck(
        disk=each.disk.key,
        kind=each.line.kind[:64],
        device=f"/dev/{each.layers[0].name}",
        mount_point=each.line.target[:4096],
        freezes=freezes,
        freeze_note=note[:1000],
        free_map=free is not None and not free.reason,
        free_map_note="its volume is read whole" if free is None else _map_note(free),
    )


def _of_pools(subject: Subject) -> Iterator[FilesystemCheck]:
    """ZFS datasets, which have no block device: they count for the first disk, if any disk is in a pool."""
    if not subject.disks:
        return
    for line in subject.mounts:
        if line.kind == "zfs":
            freezes, note = freezing(line)
            yield FilesystemCheck(
                disk=subject.disks[0].key,
                kind="zfs",
                device=line.source[:1024],
                mount_point=line.target[:4096],
                freezes=freezes,
                freeze_note=note,
                free_map=False,
                free_map_note="the maps of zfs are not read",
            )


def _device(disk: SubjectDisk, free: FreeMap) -> str:
    names = [layer.name for layer in disk.layers if layer.start == free.place.start]
    return f"/dev/{names[-1]}" if names else f"{disk.path} from byte {free.place.start}"


def _map_note(free: FreeMap) -> str:
    return free.reason[:1000] or f"{free.free.total} bytes are free and not read"


def _findings(each: FilesystemCheck) -> Iterator[Finding]:
    name = (each.mount_point or each.device)[:1024]
    if not each.freezes:
        severity = NOTE if each.kind in SYNCED else WARNING
        remedy = (
            "nothing needs to be done unless something writes to it during the cutover"
            if each.kind in SYNCED
            else "stop what writes to it before the cutover, or unmount it: checkpoints are fuzzy otherwise"
        )
        yield Finding(Code.FREEZE_UNSUPPORTED, severity, name, each.freeze_note, remedy)
    if not each.free_map:
        text = f"its free space is read as well: {each.free_map_note}"[:1000]
        remedy = "nothing needs to be done: the copy takes longer; zeros in free space are not sent"
        yield Finding(Code.FREE_SPACE_UNKNOWN, NOTE, name, text, remedy)
