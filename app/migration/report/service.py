"""Making the report of a server: one reading unit, one moment."""

from importlib.metadata import version

from app.contract.paging import Scope
from app.contract.resources.report import ReportedServer, ServerReport, WaveReport
from app.contract.resources.server import Server
from app.contract.signedreport import sealed, sealed_page
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.catalogue.service import get_server
from app.migration.report import content, doings, moves
from app.migration.report.keys import signer_of
from app.migration.report.page import html_of
from app.migration.report.proofs import levels
from app.migration.report.remarks import gaps, warnings
from app.migration.services import Services


async def server_report(uow: UnitOfWork, scope: Scope, ref: str, by: str) -> ServerReport:
    """What is known of a server now, for whom asks for it (`by`). Raises ServerNotFound."""
    server = await get_server(uow, scope, ref)
    head = server.head_checkpoint.id if server.head_checkpoint else None
    cutover = await moves.newest_cutover(uow, server.id)
    checkpoint = await content.checkpoint_of(uow, moves.subject_of(cutover, head))
    written = await content.written_volumes(uow, server.id)
    disks = await content.disks_of(uow, checkpoint, written)
    tests = await doings.boots_of(uow, server.id)
    jobs = await doings.jobs_of(uow, server.id)
    found = ServerReport(
        id=new_id("rep"),
        created_at=uow.now,
        created_by=by,
        product=f"go2cloud {version('go2cloud')}",
        server=_server(server),
        checkpoint=content.checkpoint_view(checkpoint, disks) if checkpoint else None,
        copied=await content.copied(uow, server.id, disks, server.totals),
        disks=disks,
        verification=await levels(uow, checkpoint, disks, written),
        boots=tuple(doings.boot_view(test) for test in tests),
        cutover=moves.cutover_view(cutover) if cutover else None,
        conversion=moves.conversion_of(cutover, tests),
        screenshot=await moves.cutover_screenshot(uow, cutover) or await doings.screenshot_of(uow, tests),
        jobs=jobs,
        trail=await doings.acts_on(uow, server.id, jobs),
    )
    first = await content.first_number(uow, server.id)
    return found.model_copy(update={"warnings": warnings(found), "gaps": gaps(found, first)})


def _server(server: Server) -> ReportedServer:
    same = {name: getattr(server, name) for name in ReportedServer.model_fields if name != "enrolled_at"}
    return ReportedServer(enrolled_at=server.created_at, **same)


async def report_file(services: Services, report: ServerReport | WaveReport) -> bytes:
    """The report as a signed file of JSON. Raises SigningKeyUnusable."""
    return sealed(report.model_dump(mode="json", by_alias=True), await signer_of(services))


async def report_page(services: Services, report: ServerReport) -> bytes:
    """The report as a signed page of HTML that carries the file. Raises SigningKeyUnusable."""
    signer = await signer_of(services)
    file = sealed(report.model_dump(mode="json", by_alias=True), signer)
    return sealed_page(html_of(report, signer.public.fingerprint), file, signer)
