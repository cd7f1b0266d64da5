"""By which method changes of a disk can be tracked, and why.

`probe` is the seam: it only looks whether the kernel offers what a tracker needs, and changes nothing.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.preflight import NOTE, OK, WARNING, Code, Finding, Preflight

TRACEFS: Final = "tracefs"
_EVENT: Final = "block_rq_complete"
_MOUNTED: Final = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True)
class Tracking:
    """`method` is empty where changes are found by reading the whole disk."""

    method: str
    reason: str


def probe(reader: DiskReader, root: Path = Path("/")) -> Tracking:
    """The method for this disk; `root` is where proc and sys lie."""
    if reader.is_file:
        return Tracking("", "it is a file: the kernel reports no writes to it by itself")
    hindrance = _hindrance(root)
    return Tracking("" if hindrance else TRACEFS, hindrance or "the kernel reports each completed write")


def _hindrance(root: Path) -> str:
    """Why tracefs cannot be used; empty if it can."""
    if os.geteuid() != 0:
        return "tracing needs root"
    if "tracefs" not in (root / "proc/filesystems").read_text().split():
        return "this kernel has no tracefs"
    lockdown = root / "sys/kernel/security/lockdown"
    if lockdown.exists() and "[confidentiality]" in lockdown.read_text():
        return "the kernel is locked down (confidentiality), which forbids tracing"
    return "" if _has_event(root) else f"this kernel has no event {_EVENT}"


def _has_event(root: Path) -> bool:
    """Whether block events exist: by tracefs where it is mounted, else by the kernel's symbols."""
    events = [root / place / "events" for place in _MOUNTED]
    mounted = [folder for folder in events if folder.is_dir()]
    if mounted:
        return any((folder / "block" / _EVENT).is_dir() for folder in mounted)
    return _EVENT in (root / "proc/kallsyms").read_text(errors="replace")


def check_tracking(subject: Subject, report: Preflight) -> Preflight:
    """Fill in tracker and tracker_note of the disks."""
    found = {disk.key: probe(disk.source.reader) for disk in subject.disks}
    disks = tuple(
        replace(disk, tracker=found[disk.key].method, tracker_note=found[disk.key].reason)
        for disk in report.disks
    )
    findings = [_finding(disk, found[disk.key]) for disk in subject.disks]
    return replace(report, disks=disks, findings=(*report.findings, *findings))


def _finding(disk: SubjectDisk, tracking: Tracking) -> Finding:
    if tracking.method:
        text = f"changes can be tracked by {tracking.method}: {tracking.reason}"
        return Finding(Code.TRACKING, OK, disk.path, text)
    severity = NOTE if disk.source.reader.is_file else WARNING
    text = f"changes are found by reading the whole disk: {tracking.reason}"
    remedy = "nothing needs to be done; each checkpoint takes as long as reading the disk"
    return Finding(Code.TRACKING_UNAVAILABLE, severity, disk.path, text, remedy)
