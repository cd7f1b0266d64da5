"""The start page: where the API and the health checks are, and the first steps. It holds no script."""

from html import escape
from importlib.resources import files
from string import Template

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from app.platform.upstream import Upstream

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def start_page(upstream: Upstream) -> HTMLResponse:
    """The page."""
    page = Template(_text("start.html")).substitute(api=escape(upstream.api_url))
    return HTMLResponse(page, headers=HEADERS)


@router.get("/start.css")
async def start_style() -> Response:
    """The page's style."""
    return Response(_text("start.css"), media_type="text/css", headers=HEADERS)


def _text(name: str) -> str:
    return files("app.platform").joinpath("pages", name).read_text("utf-8")
