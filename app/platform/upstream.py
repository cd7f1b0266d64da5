"""The API behind the platform, and what this process needs to reach it.

The composition root makes one `Platform`, puts it at `app.state.platform`, and closes it at the end.
"""

import ssl
from dataclasses import dataclass, field
from typing import Annotated, Self, cast

import httpx2
from fastapi import Depends, Request

from app.client.transport import AsyncClient
from app.kit.errors import BadGateway
from app.kit.health import Checks
from app.kit.settings import Settings
from app.platform.wakes import Wakes

CONNECT_SECONDS = 5.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ANSWER_SECONDS = 60.0
"""Until the API begins to answer, and between two pieces of an answer."""


@dataclass(frozen=True, slots=True)
class Platform:
    """Where the API is, a connection pool to it, how much a browser may send, and what callbacks wake."""

    api_url: str
    http: httpx2.AsyncClient
    client: AsyncClient
    body_bytes: int
    secure_cookie: bool
    callback_secret: str | None = None
    wakes: Wakes = field(default_factory=Wakes)

    @classmethod
    def connect(
        cls, settings: Settings, api_url: str, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> Self:
        """For the API at `api_url` (without /api/v1); nothing is connected yet."""
        url = api_url.rstrip("/")
        secret = settings.callbacks.secret
        way = transport or httpx2.AsyncHTTPTransport(verify=_trust(settings, url))
        return cls(
            api_url=url,
            http=httpx2.AsyncClient(
                base_url=url,
                timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                transport=way,
                trust_env=False,
            ),
            client=AsyncClient(url, transport=way),
            body_bytes=int(settings.limits.request_body_bytes),
            secure_cookie=settings.tls.cert_file is not None,
            callback_secret=secret.get_secret_value() if secret else None,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        await self.client.close()

    async def ping(self) -> None:
        """Ask the API whether it lives; raises ApiUnreachable."""
        try:
            response = await self.http.get("/healthz")
        except httpx2.HTTPError as error:
            raise ApiUnreachable(self.api_url) from error
        if not response.is_success:
            raise ApiUnreachable(self.api_url)


def _trust(settings: Settings, url: str) -> ssl.SSLContext:
    """Whom to believe: the system's authorities, and on the loopback address this service's own certificate.

    There the certificate alone counts, whoever issued it, and its name is not compared: it names the host and
    not 127.0.0.1, and who holds its key is this process.
    """
    context = ssl.create_default_context()
    if settings.tls.cert_file is not None and httpx2.URL(url).host in LOOPBACK:
        context = ssl.create_default_context(cafile=settings.tls.cert_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False
    return context


class ApiUnreachable(BadGateway):
    """The migration API does not answer."""

    code = "API_UNREACHABLE"

    def __init__(self, url: str) -> None:
        """`url` is the API's."""
        super().__init__(
            f"the migration API at {url} does not answer",
            remedy="check API_MIGRATE_SERVER_URL and that the API role runs",
        )


def checks(platform: Platform, registry: Checks) -> None:
    """Add this role's readiness check: the API can be reached."""
    registry.add("api", platform.ping)


def _platform(request: Request) -> Platform:
    return cast(Platform, request.app.state.platform)


Upstream = Annotated[Platform, Depends(_platform)]
"""The platform of this process, as a parameter of a route."""
