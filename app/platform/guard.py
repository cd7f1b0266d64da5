"""Against requests that another site makes a browser send with our cookie.

A call that changes something passes if it carries `X-Requested-With: go2cloud` (a header that another origin
cannot add without our consent, and we give none), or if the browser itself says that it comes from our own
origin (`Sec-Fetch-Site`, or `Origin` equal to the host that was asked).
"""

from urllib.parse import urlsplit

from fastapi import Request

from app.kit.errors import Forbidden

HEADER = "X-Requested-With"
VALUE = "go2cloud"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSite(Forbidden):
    """The request may come from another site."""

    code = "CROSS_SITE_REFUSED"


async def own_origin(request: Request) -> None:
    """A dependency; raises CrossSite for a change that may have been caused by another site."""
    if request.method in SAFE or _is_ours(request):
        return
    raise CrossSite(
        f"{request.method} {request.url.path} does not show that it comes from this dashboard",
        remedy=f"send the header {HEADER}: {VALUE}, or use the REST API with a token",
    )


def _is_ours(request: Request) -> bool:
    headers = request.headers
    if headers.get(HEADER) == VALUE:
        return True
    if "sec-fetch-site" in headers:
        return headers["sec-fetch-site"] == "same-origin"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin)[:2] == (request.url.scheme, headers.get("host"))
