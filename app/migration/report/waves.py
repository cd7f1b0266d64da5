"""Making the report of a wave: the newest run of each operation, and what the reports of its servers say."""

from importlib.metadata import version

from app.contract.paging import PageRequest, Scope
from app.contract.reportwords import ProofResult
from app.contract.resources.report import ReportedMember, ServerReport, WaveReport
from app.contract.resources.wave import Run
from app.contract.signedreport import sealed, sealed_page
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.report.keys import signer_of
from app.migration.report.markup import Markup, code, facts, joined, seconds, section, table, tag
from app.migration.report.page import foot, whole, word
from app.migration.report.remarks import newest_verdict
from app.migration.report.service import server_report
from app.migration.services import Services
from app.migration.waves.reports import get_run, list_runs
from app.migration.waves.service import get_wave
from app.migration.waves.subjects import Subject, wave_subject

MOST_RUNS = 100
MOST_SERVERS = 200
"""Servers that are reported of one wave: each takes some twenty queries."""


async def wave_report(uow: UnitOfWork, scope: Scope, ref: str, by: str) -> WaveReport:
    """What is known of a wave now, for whom asks for it (`by`). Raises WaveNotFound."""
    wave = await get_wave(uow, scope, ref)
    runs = await _newest_runs(uow, await wave_subject(uow, scope, ref))
    members = {each.server.id: each.application.name for run in runs for each in run.servers}
    servers = [
        _member(await server_report(uow, scope, server, by), application)
        for server, application in list(members.items())[:MOST_SERVERS]
    ]
    return WaveReport(
        id=new_id("rep"),
        created_at=uow.now,
        created_by=by,
        product=f"go2cloud {version('go2cloud')}",
        name=wave.name,
        wave=wave,
        runs=runs,
        servers=tuple(servers),
    )


async def _newest_runs(uow: UnitOfWork, subject: Subject) -> tuple[Run, ...]:
    """The newest run of each operation, whole, the newest first."""
    listed = (await list_runs(uow, subject, PageRequest(limit=MOST_RUNS))).items
    newest = {run.operation: run.job_id for run in reversed(listed)}
    return tuple([await get_run(uow, subject, job) for job in sorted(newest.values(), reverse=True)])


def _member(report: ServerReport, application: str) -> ReportedMember:
    tested, cutover = newest_verdict(report), report.cutover
    return ReportedMember(
        id=report.server.id,
        name=report.server.name,
        application=application,
        lifecycle_state=report.server.lifecycle_state,
        checkpoint_number=report.checkpoint.number if report.checkpoint else None,
        tested=tested.passed if tested else None,
        came_up=cutover.passed if cutover else None,
        downtime_seconds=cutover.downtime_seconds if cutover else None,
        levels=tuple((each.level, each.result) for each in report.verification),
        warnings=tuple(each.code for each in report.warnings),
        gaps=tuple(each.code for each in report.gaps),
    )


async def wave_page(services: Services, report: WaveReport) -> bytes:
    """The report as a signed page of HTML that carries the file. Raises SigningKeyUnusable."""
    signer = await signer_of(services)
    file = sealed(report.model_dump(mode="json", by_alias=True), signer)
    return sealed_page(wave_html(report, signer.public.fingerprint), file, signer)


def wave_html(report: WaveReport, fingerprint: str) -> str:
    """The page; `fingerprint` is of the key that it will be signed with."""
    made = tag(
        "p", "Made ", report.created_at, " for ", report.created_by, " by ", report.product, kind="lead"
    )
    parts = (
        tag("header", tag("h1", "Report of wave ", report.name), made),
        _members(report),
        *(_run(run) for run in report.runs),
        foot(report.id, fingerprint),
    )
    return whole(f"Report of wave {report.name}", parts)


def _members(report: WaveReport) -> Markup:
    rows = [
        (
            each.name,
            each.application,
            each.lifecycle_state.value,
            each.checkpoint_number,
            word(each.tested),
            word(each.came_up),
            seconds(each.downtime_seconds),
            " ".join(level for level, result in each.levels if result is ProofResult.PROVED),
            joined(tag("div", text) for text in each.warnings),
        )
        for each in report.servers
    ]
    titles = (
        "Server",
        "Application",
        "State",
        "Checkpoint",
        "Test",
        "Cutover",
        "Downtime",
        "Proved",
        "Warnings",
    )
    note = tag(
        "p", f"At most {MOST_SERVERS} servers are listed, of the newest run of each operation.", kind="lead"
    )
    return section("Servers", table(titles, rows), note)


def _run(run: Run) -> Markup:
    rows = [
        (
            each.position,
            each.server.name,
            each.application.name,
            each.state.value,
            each.started_at,
            seconds(each.seconds),
            each.detail or each.code,
        )
        for each in run.servers
    ]
    counts = ", ".join(f"{each.servers} {each.state.value}" for each in run.counts)
    head = facts(
        (
            ("Job", code(run.job_id)),
            ("State", run.state.value),
            ("Ordered by", run.requested_by),
            ("Ordered", run.created_at),
            ("Took", seconds(run.seconds)),
            ("Servers", counts),
            ("Detail", run.detail),
        )
    )
    titles = ("", "Server", "Application", "State", "Began", "Took", "Detail")
    return section(f"Newest run: {run.operation}", head, table(titles, rows))
