"""What a reader of a report must know: warnings, and what nobody looked at, in a sentence each. Pure.

A report without a remark says that all was looked at and found good, so what is lacking has its remark here.
"""

from collections.abc import Iterator

from app.contract.cutoverwords import CutoverState
from app.contract.reportwords import ProofResult
from app.contract.resources.report import ReportedBoot, ReportedRemark, ServerReport
from app.contract.words import ConsistencyLabel, VerificationLevel
from app.migration.report.doings import MOST_ACTS, MOST_BOOTS, MOST_JOBS
from app.migration.report.moves import STANDS

READY_MARK = "server.markReady"
_LEVEL_CODES = {
    VerificationLevel.STORED: "STORE_HAS_FAULTS",
    VerificationLevel.ONLINE: "REPLICA_DIFFERS",
    VerificationLevel.VOLUME: "VOLUME_DIFFERS",
}


def warnings(report: ServerReport) -> tuple[ReportedRemark, ...]:
    """What is not as it should be."""
    return tuple(
        remark
        for each in (_source, _cutover, _checkpoint, _refuted, _replication, _boots, _conversion, _overrides)
        for remark in each(report)
    )


def gaps(report: ServerReport, first_number: int) -> tuple[ReportedRemark, ...]:
    """What is not verified, not done, or not known; `first_number` is of the oldest kept checkpoint."""
    found = [remark for each in (_levels, _left_out, _not_done, _cut_lists) for remark in each(report)]
    if first_number > 1:
        text = (
            f"checkpoints before number {first_number} were dropped by retention: "
            "what they read and sent is not counted"
        )
        found.append(_remark("COUNTERS_INCOMPLETE", text))
    return tuple(found)


def _remark(code: str, text: str) -> ReportedRemark:
    return ReportedRemark(code=code, text=text)


def _source(report: ServerReport) -> Iterator[ReportedRemark]:
    cutover = report.cutover
    if cutover is None:
        return
    if cutover.state in STANDS and not cutover.source_stopped:
        yield _remark(
            "SOURCE_STILL_ACTIVE",
            "no hook stopped the source's services: what was written there since the cutover is not copied",
        )


def _cutover(report: ServerReport) -> Iterator[ReportedRemark]:
    cutover = report.cutover
    if cutover is None:
        return
    if cutover.passed is False:
        reason = cutover.detail or "no reason is known"
        yield _remark("CUTOVER_FAILED", f"the machine of cutover {cutover.id} did not come up: {reason}")
    if cutover.source_gone is not None:
        what = "were not given back" if cutover.state is CutoverState.REVERTED else "are not to be waited for"
        text = f"the services of the source {what}: it counts as gone ({cutover.source_gone})"
        yield _remark("SOURCE_NOT_GIVEN_BACK", text)
    for code in cutover.passed_over:
        yield _remark("DOUBT_PASSED_OVER", f"the cutover passed over {code}: {cutover.override}")


def _checkpoint(report: ServerReport) -> Iterator[ReportedRemark]:
    checkpoint = report.checkpoint
    if checkpoint is None:
        return
    if checkpoint.label is ConsistencyLabel.FUZZY:
        text = f"checkpoint {checkpoint.number} is fuzzy: the source wrote while it was read"
        yield _remark("CHECKPOINT_FUZZY", text)
    unreadable = sum(disk.unreadable_bytes for disk in report.disks)
    if unreadable:
        text = f"{unreadable} bytes could not be read from the source and are zeros in the replica"
        yield _remark("BYTES_UNREADABLE", text)


def _refuted(report: ServerReport) -> Iterator[ReportedRemark]:
    for level in report.verification:
        if level.result is ProofResult.REFUTED:
            yield _remark(_LEVEL_CODES[level.level], f"{level.level}: {level.detail}")


def _replication(report: ServerReport) -> Iterator[ReportedRemark]:
    server = report.server
    if server.replication_reason is not None:
        text = f"replication is {server.replication_state}: {server.replication_reason}"
        yield _remark("REPLICATION_TROUBLED", text)


def newest_verdict(report: ServerReport) -> ReportedBoot | None:
    """The newest test that passed or failed."""
    return next((boot for boot in report.boots if boot.passed is not None), None)


def _boots(report: ServerReport) -> Iterator[ReportedRemark]:
    newest = newest_verdict(report)
    if newest is not None and not newest.passed:
        reason = newest.detail or newest.reason or "no reason is known"
        yield _remark(
            "TEST_FAILED", f"the newest test, of checkpoint {newest.checkpoint_number}, failed: {reason}"
        )


def _conversion(report: ServerReport) -> Iterator[ReportedRemark]:
    for text in report.conversion.warnings if report.conversion else ():
        yield _remark("CONVERSION_DOUBT", text)


def _overrides(report: ServerReport) -> Iterator[ReportedRemark]:
    for act in report.trail:
        passed_over = dict(act.details).get("passedOver", "null")
        if act.action == READY_MARK and passed_over != "null":
            text = f"{act.who} marked the server as ready although {passed_over.strip(chr(34))}"
            yield _remark("TEST_OVERRIDDEN", text)


def _levels(report: ServerReport) -> Iterator[ReportedRemark]:
    for level in report.verification:
        if level.result in (ProofResult.NOT_VERIFIED, ProofResult.PARTLY):
            yield _remark(f"{level.level.upper()}_{level.result}", f"{level.level}: {level.detail}")


def _left_out(report: ServerReport) -> Iterator[ReportedRemark]:
    omitted = sum(disk.omitted_bytes for disk in report.disks)
    if omitted:
        text = f"{omitted} bytes were free at the checkpoint: they were not read and are zeros in the replica"
        yield _remark("FREE_SPACE_LEFT_OUT", text)


def _not_done(report: ServerReport) -> Iterator[ReportedRemark]:
    checkpoint, newest = report.checkpoint, newest_verdict(report)
    if checkpoint is None:
        yield _remark("NO_CHECKPOINT", "the server has no checkpoint: nothing was copied to its end")
    if newest is None:
        yield _remark(
            "NOT_TESTED",
            "no machine that was made of the server came to a verdict: nobody knows that it boots",
        )
    elif checkpoint is not None and not _came_up(report) and newest.checkpoint_number != checkpoint.number:
        text = f"the newest verdict is of checkpoint {newest.checkpoint_number}, not of {checkpoint.number}"
        yield _remark("TEST_OF_ANOTHER_CHECKPOINT", text)
    if report.screenshot is None:
        yield _remark("NO_SCREENSHOT", "there is no picture of a machine's screen")
    if not _came_up(report):
        yield _remark("NOT_CUT_OVER", _why_not(report))
    if report.conversion is None:
        yield _remark(
            "NO_CONVERSION", "no conversion is recorded: the disks were started as they are, if at all"
        )
    elif report.conversion.system is None:
        yield _remark("NO_CONVERSION", "the disks were not looked at before they were started")


def _came_up(report: ServerReport) -> bool:
    """Whether a cutover stands whose machine passed its checks."""
    cutover = report.cutover
    return cutover is not None and cutover.state in STANDS and bool(cutover.passed)


def _why_not(report: ServerReport) -> str:
    cutover = report.cutover
    if cutover is None:
        return "the server was not cut over by go2cloud: nothing is known of a downtime, or of who serves now"
    if cutover.state in STANDS:
        return f"cutover {cutover.id} is {cutover.state}, and its machine did not pass its checks"
    return f"the newest cutover, {cutover.id}, is {cutover.state}: the machine of a cutover does not serve"


def _cut_lists(report: ServerReport) -> Iterator[ReportedRemark]:
    for what, found, most in (
        ("tests", len(report.boots), MOST_BOOTS),
        ("jobs", len(report.jobs), MOST_JOBS),
        ("entries of the audit trail", len(report.trail), MOST_ACTS),
    ):
        if found >= most:
            yield _remark("LIST_CUT", f"only the newest {most} {what} are listed")
