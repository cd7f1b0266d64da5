"""Signed reports of servers, and the key to check them with."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Response

from app.api.auth import Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.contract.resources.report import ReportKey, SignedReport
from app.kit.database import UnitOfWork
from app.kit.transaction import Uow
from app.migration.access.principals import Principal
from app.migration.report import service, waves
from app.migration.report.keys import key_of
from app.migration.report.page import POLICY
from app.migration.services import Services

router = APIRouter(route_class=UnitRoute)

JSON: Final = "application/json"
HTML: Final = "text/html"
UNCHANGED: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Vary": "Accept"}
INERT: Final = UNCHANGED | {"Content-Security-Policy": f"{POLICY}; sandbox"}
"""What a source says of itself is in a report, so a browser is told to run nothing of it."""


@router.get("/reports/key")
async def get_report_key(serving: Serving, _who: Viewer) -> ReportKey:
    """The public key that reports are signed with now; it is no secret, give it to those who check them."""
    return await key_of(serving)


@router.get(
    "/servers/{server}/report",
    response_class=Response,
    responses={
        200: {
            "model": SignedReport,
            "content": {HTML: {}},
            "description": "The file, signed; keep it byte for byte",
        }
    },
)
async def get_server_report(
    uow: Uow,
    serving: Serving,
    who: Viewer,
    server: str,
    accept: Annotated[str, Header(description="text/html for a page")] = JSON,
) -> Response:
    """What was copied of a server, what is proved of it and what is not, as a signed document or page."""
    if HTML in accept and JSON not in accept:
        return await _page(uow, serving, who, server)
    report = await service.server_report(uow, who.scope, server, who.name)
    return Response(await service.report_file(serving, report), media_type=JSON, headers=UNCHANGED)


@router.get(
    "/servers/{server}/report.html",
    response_class=Response,
    responses={200: {"content": {HTML: {}}, "description": "The page, signed; keep it byte for byte"}},
)
async def get_server_report_page(uow: Uow, serving: Serving, who: Viewer, server: str) -> Response:
    """The report of a server as a page that prints, and that carries the signed document."""
    return await _page(uow, serving, who, server)


@router.get(
    "/waves/{wave}/report",
    response_class=Response,
    responses={
        200: {
            "model": SignedReport,
            "content": {HTML: {}},
            "description": "The file, signed; keep it byte for byte",
        }
    },
)
async def get_wave_report(
    uow: Uow,
    serving: Serving,
    who: Viewer,
    wave: str,
    accept: Annotated[str, Header(description="text/html for a page")] = JSON,
) -> Response:
    """The newest runs of a wave, and its servers in short, as a signed document or page."""
    report = await waves.wave_report(uow, who.scope, wave, who.name)
    if HTML in accept and JSON not in accept:
        content = await waves.wave_page(serving, report)
        return Response(content, media_type=f"{HTML}; charset=utf-8", headers=INERT)
    return Response(await service.report_file(serving, report), media_type=JSON, headers=UNCHANGED)


async def _page(uow: UnitOfWork, serving: Services, who: Principal, server: str) -> Response:
    report = await service.server_report(uow, who.scope, server, who.name)
    content = await service.report_page(serving, report)
    return Response(content, media_type=f"{HTML}; charset=utf-8", headers=INERT)
