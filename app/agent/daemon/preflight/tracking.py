"""By which method changes of a disk can be tracked, and why."""

from dataclasses import replace

from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.preflight import NOTE, OK, WARNING, Code, Finding, Preflight


def check_tracking(subject: Subject, report: Preflight) -> Preflight:
    """Fill in tracker and tracker_note of the disks."""
    found = {disk.key: disk for disk in subject.disks}
    disks = tuple(
        replace(disk, tracker=found[disk.key].tracker, tracker_note=found[disk.key].tracker_note[:1000])
        for disk in report.disks
    )
    findings = [_finding(disk) for disk in subject.disks]
    return replace(report, disks=disks, findings=(*report.findings, *findings))


def _finding(disk: SubjectDisk) -> Finding:
    if disk.tracker:
        text = f"changes can be tracked by {disk.tracker}: {disk.tracker_note}"
        return Finding(Code.TRACKING, OK, disk.path, text[:1000])
    severity = NOTE if disk.source.reader.is_file else WARNING
    text = f"changes are found by reading the whole disk: {disk.tracker_note}"
    remedy = "nothing needs to be done; each checkpoint takes as long as reading the disk"
    return Finding(Code.TRACKING_UNAVAILABLE, severity, disk.path, text[:1000], remedy)
