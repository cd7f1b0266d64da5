"""The disks: sizes, sectors, read speed, and what stands on each."""

from dataclasses import replace
from pathlib import Path

from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.preflight import measured
from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.messages import Filesystem
from app.wire.preflight import BLOCKER, WARNING, Code, DiskCheck, Finding, Preflight

_MOST_STANDS = 100


def check_disks(subject: Subject, report: Preflight) -> Preflight:
    """Fill in disks; findings for those that cannot be opened or read."""
    findings = [*subject.refused]
    if not subject.disks and not subject.refused:
        findings.append(
            Finding(
                Code.NO_DISKS,
                BLOCKER,
                "host",
                "this host has no physical disk",
                "name one with --disk at enrol",
            )
        )
    checks = []
    for disk in subject.disks:
        subject.check_stop()
        speed, failed = _speed(disk)
        findings += failed
        checks.append(_check(subject, disk, speed))
    return replace(report, disks=tuple(checks), findings=(*report.findings, *findings))


def _speed(disk: SubjectDisk) -> tuple[measured.Speed, list[Finding]]:
    try:
        return measured.measure(disk.source.reader), []
    except OSError as error:
        text = f"samples of the disk cannot be read: {error.strerror}"
        remedy = (
            "blocks that cannot be read are retried down to 4 KiB and recorded; see the kernel's log and "
            "replace the disk or copy it soon"
        )
        return measured.Speed(0, 0), [Finding(Code.DISK_READ_ERROR, WARNING, disk.path, text, remedy)]


def _check(subject: Subject, disk: SubjectDisk, speed: measured.Speed) -> DiskCheck:
    reader = disk.source.reader
    return DiskCheck(
        key=disk.key,
        path=disk.path,
        size=reader.size,
        to_read=disk.to_read,
        sector_size=reader.sector_size,
        physical_sector_size=reader.physical_sector_size,
        read_rate=speed.rate,
        latency_us=speed.latency_us,
        is_direct=reader.direct,
        stands=tuple(_stands(subject, disk))[:_MOST_STANDS],
    )


def _stands(subject: Subject, disk: SubjectDisk) -> list[str]:
    found = disk.source.disk
    texts = [f"{_named(found.filesystem)} on the whole disk"] if found.filesystem else []
    texts += [f"partition {part.number}: {_named(part.filesystem) or 'unknown'}" for part in found.partitions]
    texts += [str(layer) for layer in disk.layers]
    texts += [_mounted(each) for each in subject.mounted_on(disk)]
    texts += [use.reason for use in subject.standing.raw if disk.key in use.disks]
    return [text[:1000] for text in texts]


def _mounted(standing: Standing) -> str:
    where = "" if standing.path == Path(standing.target) else " in another mount namespace"
    return f"{standing.kind} at {standing.target}{where}"


def _named(filesystem: Filesystem | None) -> str:
    if filesystem is None:
        return ""
    return f"{filesystem.kind} {filesystem.label!r}" if filesystem.label else filesystem.kind
