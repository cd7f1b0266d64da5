"""A report as one page of HTML: nothing is loaded from elsewhere, nothing runs, and it prints as it looks.

The page says what the report says, in the report's order, and adds no judgement of its own.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from app.contract.reportwords import ProofResult
from app.contract.resources.report import (
    ReportedBoot,
    ReportedCheck,
    ReportedCutover,
    ReportedPhase,
    ReportedRemark,
    ServerReport,
)
from app.migration.report.markup import (
    Markup,
    Part,
    code,
    facts,
    joined,
    rendered,
    seconds,
    section,
    size,
    table,
    tag,
)

_CSS: Final = Path(__file__).with_name("page.css").read_text("utf-8")
POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_KINDS: Final = {
    ProofResult.PROVED: "good",
    ProofResult.PARTLY: "open",
    ProofResult.NOT_VERIFIED: "open",
    ProofResult.REFUTED: "bad",
}


def html_of(report: ServerReport, fingerprint: str) -> str:
    """The page; `fingerprint` is of the key that it will be signed with."""
    parts = (
        _head(report),
        _remarks("Warnings", report.warnings, "Nothing that was looked at is wrong."),
        _remarks("Not verified, not done, not known", report.gaps, "Everything was looked at."),
        _copied(report),
        _disks(report),
        _verification(report),
        *([_cutover(report.cutover)] if report.cutover else []),
        _conversion(report),
        _boots(report),
        _screenshot(report),
        _jobs(report),
        _trail(report),
        foot(report.id, fingerprint),
    )
    return whole(f"Report of {report.server.name}", parts)


def whole(title: str, parts: Iterable[Markup]) -> str:
    """A page of these parts."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{rendered(title)}</title>\n<style>\n{_CSS}</style>\n</head>\n<body>\n"
        f"{joined(parts).html}\n</body>\n</html>\n"
    )


def word(good: bool | None, words: tuple[str, str] = ("passed", "failed")) -> Markup:
    """A verdict."""
    if good is None:
        return tag("span", "no verdict", kind="word open")
    return tag("span", words[0] if good else words[1], kind=f"word {'good' if good else 'bad'}")


def _head(report: ServerReport) -> Markup:
    server, checkpoint = report.server, report.checkpoint
    machine = (
        f"{server.cpu_count or '?'} processors, {size(server.memory_bytes or 0)}, {server.firmware or '?'}"
    )
    pairs: list[tuple[str, Part]] = [
        ("Server", code(server.id)),
        ("Host name", server.hostname),
        ("Project", server.project_name),
        ("System", " ".join(part for part in (server.os, server.kernel, server.architecture) if part)),
        ("Machine", machine),
        ("State", f"{server.lifecycle_state}, replication {server.replication_state}"),
        ("Enrolled", server.enrolled_at),
        ("Agent last seen", server.last_seen_at),
    ]
    if checkpoint is not None:
        pairs += [
            ("Checkpoint", f"{checkpoint.number}, {checkpoint.label}"),
            ("Moment of the source", checkpoint.source_time),
            ("Source held still for", seconds(checkpoint.freeze_seconds)),
        ]
    made = tag(
        "p", "Made ", report.created_at, " for ", report.created_by, " by ", report.product, kind="lead"
    )
    return tag("header", tag("h1", "Report of ", server.name), made, facts(pairs))


def _remarks(title: str, remarks: tuple[ReportedRemark, ...], nothing: str) -> Markup:
    if not remarks:
        return section(title, tag("div", tag("p", nothing), kind="remarks none"))
    items = [tag("li", tag("span", each.code, kind="word"), ": ", each.text) for each in remarks]
    return section(title, tag("div", tag("ul", *items), kind="remarks"))


def _copied(report: ServerReport) -> Markup:
    copy = report.copied
    pairs: list[tuple[str, Part]] = [
        ("Disks", size(copy.size_bytes)),
        ("In use", size(copy.used_bytes)),
        ("Checkpoints that are kept", copy.checkpoints),
        ("The oldest of them", copy.since),
        ("Read from the source", size(copy.read_bytes)),
        ("of that, zeros", size(copy.zero_bytes)),
        ("of that, stored already", size(copy.known_bytes)),
        ("of that, sent whole", size(copy.sent_bytes)),
        ("of that, sent as small changes", size(copy.patched_bytes)),
        ("On the wire", size(copy.wire_bytes)),
        ("Stored", size(copy.stored_bytes)),
        ("Deduplication", copy.dedup_ratio),
        ("Compression", copy.compression_ratio),
    ]
    return section("What was copied", facts(pairs))


def _disks(report: ServerReport) -> Markup:
    return section(
        "Disks, and the roots on both sides", *(_disk(report, at) for at in range(len(report.disks)))
    )


def _disk(report: ServerReport, at: int) -> Markup:
    disk = report.disks[at]
    pairs: list[tuple[str, Part]] = [
        ("Disk", code(disk.id)),
        ("Key", disk.key),
        ("Size", size(disk.size_bytes)),
        ("In use", size(disk.used_bytes)),
        ("Free, not copied", size(disk.omitted_bytes)),
        ("Unreadable at the source", size(disk.unreadable_bytes)),
        ("Root of the source", code(disk.source_root)),
        ("Root of the replica", code(disk.replica_root)),
        ("Root of the volume", code(disk.volume_root) if disk.volume_root else "no volume was written of it"),
    ]
    return joined((tag("h3", disk.path), facts(pairs)))


def _verification(report: ServerReport) -> Markup:
    rows = [
        (
            each.level,
            each.claim,
            tag("span", each.result.replace("_", " ").lower(), kind=f"word {_KINDS[each.result]}"),
            each.time,
            each.detail,
        )
        for each in report.verification
    ]
    return section("Verification", table(("Level", "Claim", "Result", "Time", "By what"), rows))


def _phases(phases: tuple[ReportedPhase, ...]) -> Markup:
    rows = [
        (
            each.name,
            each.started_at,
            seconds(each.seconds),
            f"{each.state or ''}{' (undone)' if each.undone else ''}",
        )
        for each in phases
    ]
    return table(("Phase", "Began", "Took", "State"), rows)


def _checks(checks: tuple[ReportedCheck, ...]) -> Markup:
    rows = [(each.name, each.kind, word(each.passed), seconds(each.after), each.detail) for each in checks]
    return table(("Check", "Kind", "Result", "After", "What was found"), rows)


def _cutover(cutover: ReportedCutover) -> Markup:
    pairs: list[tuple[str, Part]] = [
        ("Cutover", code(cutover.id)),
        ("State", cutover.state.value),
        ("Target", cutover.target),
        ("Result", word(cutover.passed)),
        ("What was seen", cutover.detail),
        ("Ordered by", cutover.requested_by),
        ("Ordered", cutover.created_at),
        ("Ended", cutover.finished_at),
        ("Final checkpoint", cutover.checkpoint_number),
        ("The source's services were stopped", cutover.source_stopped),
        ("The source counts as gone", cutover.source_gone),
        ("Down since", cutover.down_since),
        ("Up since", cutover.up_since),
        ("Downtime", seconds(cutover.downtime_seconds)),
    ]
    ledger = [tag("h3", "Left, removed, kept"), table(("", "What", "Detail"), cutover.ledger)]
    parts = (
        facts(pairs),
        _phases(cutover.phases),
        _checks(cutover.checks),
        *(ledger if cutover.ledger else ()),
    )
    return section("Cutover and downtime", *parts)


def _conversion(report: ServerReport) -> Markup:
    found = report.conversion
    if found is None:
        return section("Conversion", table((), ()))
    rows = [
        (code(each.path), each.reason, joined(tag("div", code(line)) for line in each.lines))
        for each in found.changes
    ]
    pairs: list[tuple[str, Part]] = [
        ("Of the machine", code(found.of)),
        ("System that was found", found.system),
        ("Its root", found.root),
        ("Doubts", joined(tag("div", each) for each in found.warnings) if found.warnings else None),
    ]
    return section("Conversion", facts(pairs), table(("File", "Why", "Lines"), rows))


def _boots(report: ServerReport) -> Markup:
    return (
        section("Tests", *(_boot(each) for each in report.boots))
        if report.boots
        else section("Tests", table((), ()))
    )


def _boot(boot: ReportedBoot) -> Markup:
    pairs: list[tuple[str, Part]] = [
        ("Result", word(boot.passed)),
        ("What was seen", boot.detail or boot.reason),
        ("Checkpoint", f"{boot.checkpoint_number}, {boot.label}"),
        ("Moment of the source", boot.source_time),
        ("Where", " ".join(each for each in (boot.target, boot.node, boot.accelerator) if each)),
        ("Ordered by", boot.requested_by),
        ("Ordered", boot.created_at),
        ("Verdict", boot.checked_at),
        ("Until the verdict", seconds(boot.seconds)),
        ("Machine", boot.state.value),
        ("Reached", ", ".join(f"{each.name} after {seconds(each.seconds)}" for each in boot.phases)),
    ]
    return joined((tag("h3", "Test ", boot.id), facts(pairs), _checks(boot.checks)))


def _screenshot(report: ServerReport) -> Markup:
    picture = report.screenshot
    if picture is None:
        return section("Screenshot", tag("p", "None.", kind="lead"))
    image = Markup(
        f'<img alt="The last picture of the machine\'s screen" src="data:image/png;base64,{picture.png}">'
    )
    caption = tag("figcaption", "Of ", code(picture.of), ", SHA-256 ", code(picture.sha256))
    return section("Screenshot", tag("figure", image, caption))


def _jobs(report: ServerReport) -> Markup:
    rows = [
        (
            each.created_at,
            each.kind,
            each.state.value,
            each.requested_by,
            each.finished_at,
            each.detail or each.code,
        )
        for each in report.jobs
    ]
    return section("Jobs", table(("Ordered", "Kind", "State", "By", "Ended", "Detail"), rows))


def _trail(report: ServerReport) -> Markup:
    rows = [
        (each.time, each.who, each.action, ", ".join(f"{name}: {value}" for name, value in each.details))
        for each in report.trail
    ]
    return section("Who did what, and when", table(("Time", "Who", "What", "Details"), rows))


def foot(report_id: str, fingerprint: str) -> Markup:
    """How the page is checked."""
    how = tag(
        "p", "This page is signed, and carries the report as signed JSON. Check both, without any service: "
    )
    command = tag("p", code("go2cloud report verify FILE --key FINGERPRINT"))
    key = tag(
        "p", "Key (SHA-256): ", code(fingerprint), ". Compare it with what you were told by another way."
    )
    return tag("footer", tag("p", "Report ", code(report_id)), how, command, key)
