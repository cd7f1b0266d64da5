"""The filesystems on the disks: whether a cut can freeze each, and whether its free space is known."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from app.agent.daemon.capture.free_space.finder import FreeMap
from app.agent.daemon.disk.mounts import MountLine
from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.preflight.freezing import SYNCED, Freezing, told, try_all
from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.preflight import NOTE, WARNING, Code, FilesystemCheck, Finding, Preflight

_CONTAINERS: Final = frozenset({"swap", "LVM2_member", "linux_raid_member", "crypto_LUKS"})
"""What superblocks tell of and no filesystem is."""
_IN_A_FILE: Final = "it lies in a file, whose bytes are read"


def check_filesystems(subject: Subject, report: Preflight) -> Preflight:
    """Fill in filesystems."""
    mounted = tuple(each for each in subject.standing.filesystems if _counts(each))
    tried = try_all(mounted, subject.check_stop) if subject.try_freeze else {}
    found = [
        *_unmounted(subject),
        *(
            _mounted(disk, each, tried.get(each) or told(each.kind, is_read_only=each.is_read_only))
            for each in mounted
            for disk in subject.disks
            if disk.key in each.disks
        ),
        *_of_pools(subject),
    ]
    findings = [finding for each in found for finding in _findings(each)]
    return replace(report, filesystems=tuple(found), findings=(*report.findings, *findings))


def _counts(standing: Standing) -> bool:
    """Images that are mounted from files and never change, such as snaps, are left out."""
    return not (standing.depth and standing.is_read_only)


def _unmounted(subject: Subject) -> Iterator[FilesystemCheck]:
    """Those that nobody has mounted; another program may use one all the same."""
    raw = {(use.span.disk, use.span.start): use.reason for use in subject.standing.raw if use.span}
    for disk in subject.disks:
        taken = _mounted_starts(subject, disk)
        for free in disk.free:
            if free.place.start not in taken and free.place.kind not in _CONTAINERS:
                use = raw.get((disk.key, free.place.start), "")
                yield FilesystemCheck(
                    disk=disk.key,
                    kind=free.place.kind,
                    device=_device(disk, free),
                    mount_point="",
                    freezes=not use,
                    freeze_note=use[:1000] or "it is not mounted",
                    free_map=not free.reason,
                    free_map_note=_map_note(free),
                )


def _mounted_starts(subject: Subject, disk: SubjectDisk) -> set[int]:
    """Where mounted filesystems, or parts of them, begin on the disk."""
    devices = (each for standing in subject.mounted_on(disk) for each in disk.devices_of(standing))
    return {each.span.start for each in devices if each.span}


def _mounted(disk: SubjectDisk, standing: Standing, freezing: Freezing) -> FilesystemCheck:
    free = disk.starts_at(standing.span)
    whole = _IN_A_FILE if standing.depth else "its volume is read whole"
    return FilesystemCheck(
        disk=disk.key,
        kind=standing.kind[:64],
        device=str(disk.devices_of(standing)[0].member.node),
        mount_point=standing.target[:4096],
        freezes=freezing.holds,
        freeze_note=freezing.note[:1000],
        free_map=free is not None and not free.reason,
        free_map_note=whole if free is None else _map_note(free),
    )


def _of_pools(subject: Subject) -> Iterator[FilesystemCheck]:
    """ZFS datasets, which have no block device: they count for the first disk, if any disk is in a pool."""
    if not subject.disks:
        return
    for line in _datasets(subject):
        freezing = told("zfs", is_read_only=line.is_read_only)
        yield FilesystemCheck(
            disk=subject.disks[0].key,
            kind="zfs",
            device=line.source[:1024],
            mount_point=line.target[:4096],
            freezes=freezing.holds,
            freeze_note=freezing.note,
            free_map=False,
            free_map_note="the maps of zfs are not read",
        )


def _datasets(subject: Subject) -> list[MountLine]:
    """Each once, however many mounts and namespaces show it."""
    lines = (line for table in subject.mounts.tables for line in table.lines if line.kind == "zfs")
    return list({line.number: line for line in reversed(list(lines))}.values())[::-1]


def _device(disk: SubjectDisk, free: FreeMap) -> str:
    nodes = (
        str(each.member.node)
        for each in disk.carriers
        if each.span and (each.span.start, each.span.size) == (free.place.start, free.place.size)
    )
    return next(nodes, f"{disk.path} from byte {free.place.start}")


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
    if not each.free_map and each.free_map_note != _IN_A_FILE:
        text = f"its free space is read as well: {each.free_map_note}"[:1000]
        remedy = "nothing needs to be done: the copy takes longer; zeros in free space are not sent"
        yield Finding(Code.FREE_SPACE_UNKNOWN, NOTE, name, text, remedy)
