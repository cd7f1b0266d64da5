"""A report as a person reads it on a terminal."""

from collections.abc import Iterator

from app.agent.daemon.console import size_text
from app.wire.preflight import OK, DiskCheck, Finding, NetworkCheck, Preflight, worst_first


def lines_of(report: Preflight) -> Iterator[str]:
    """What was measured, then the findings, the worst first."""
    yield (
        f"host     kernel {report.kernel or '?'}, {report.firmware or '?'}, "
        f"{size_text(report.memory_bytes)} of memory, {size_text(report.memory_free_bytes)} available"
    )
    if report.network:
        yield f"network  {_network(report.network)}"
    for disk in report.disks:
        yield f"disk     {disk.path}: {_disk(disk, report.observed_ms)}"
        yield from (f"           {text}" for text in disk.stands)
    for each in report.filesystems:
        where = f"at {each.mount_point}" if each.mount_point else f"on {each.device}"
        yield f"files    {each.kind} {where}: {each.freeze_note}; free space: {each.free_map_note}"
    yield from finding_lines(report.findings)


def finding_lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    """The findings, the worst first; those that are ok are left out."""
    for each in worst_first(tuple(each for each in findings if each.severity != OK)):
        yield f"{each.severity.upper():8} {each.code}  {each.subject}"
        yield f"           {each.text}"
        if each.remedy:
            yield f"           -> {each.remedy}"


def _network(check: NetworkCheck) -> str:
    parts = [
        f"delay {_ms(check.delay_us)} (least {_ms(check.delay_min_us)}, jitter {_ms(check.jitter_us)})",
        f"{check.loss_permille / 10:.1f} % of {check.requests} requests lost",
        f"up {size_text(check.up_rate)}/s, down {size_text(check.down_rate)}/s",
        "TLS" if check.is_tls else "not encrypted",
    ]
    return ", ".join(parts + ([f"through proxy {check.proxy}"] if check.proxy else []))


def _disk(check: DiskCheck, observed_ms: int) -> str:
    churn = (
        "unknown churn"
        if check.churn_rate is None
        else f"churn {size_text(check.churn_rate)}/s over {observed_ms / 1000:.0f} s"
    )
    return (
        f"{size_text(check.size)}, {size_text(check.to_read)} to read at {size_text(check.read_rate)}/s, "
        f"4 KiB in {_ms(check.latency_us)}, {churn}, tracker {check.tracker or 'none'} ({check.tracker_note})"
    )


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f} ms"
