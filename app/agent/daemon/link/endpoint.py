"""Where the service is and how its identity is checked.

An install token may carry the SHA-256 fingerprint of the service's certificate behind a dot: then exactly
that certificate is accepted, whoever signed it. Without one the system's trusted authorities decide.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from app.agent.daemon.errors import LinkRefused, UsageError

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT; `user` is user:password or empty."""

    host: str
    port: int
    user: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse http://[user:password@]host[:port]. Raises UsageError."""
        try:
            parts = urlsplit(url)
            port = parts.port or 3128
        except ValueError as error:
            raise UsageError(f"the proxy {url!r} is not a URL: {error}") from error
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"the proxy {url!r} is not of the form http://host:port")
        user = unquote(f"{parts.username}:{parts.password or ''}") if parts.username else ""
        return cls(parts.hostname, port, user)


@dataclass(frozen=True)
class Endpoint:
    """The service's address; `fingerprint` (hex SHA-256 of its certificate) may be empty."""

    host: str
    port: int
    is_tls: bool
    path: str
    fingerprint: str = ""
    proxy: Proxy | None = None

    @classmethod
    def parse(
        cls, url: str, *, fingerprint: str = "", allow_plain_http: bool = False, proxy: str = ""
    ) -> Self:
        """Parse the service's URL.

        Raises UsageError for what is no http(s) URL, LinkRefused for plain HTTP beyond loopback.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"{url!r} is not of the form https://host[:port][/path]")
        is_tls = parts.scheme == "https"
        if not is_tls and not allow_plain_http and not _is_loopback(parts.hostname):
            raise LinkRefused(
                f"{url} is plain HTTP: disks would cross the network unencrypted",
                code="PLAIN_HTTP_REFUSED",
                remedy="use https, or allow it by name with --allow-plain-http",
            )
        return cls(
            host=parts.hostname,
            port=port or (443 if is_tls else 80),
            is_tls=is_tls,
            path=parts.path.rstrip("/"),
            fingerprint=fingerprint,
            proxy=Proxy.parse(proxy) if proxy else None,
        )

    def __str__(self) -> str:
        """The address for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}{self.path}"


def split_token(token: str) -> tuple[str, str]:
    """(token as the service knows it, fingerprint or empty) of an install token as it is handed out.

    Raises UsageError for something behind the dot that is no fingerprint: it must not be ignored.
    """
    secret, dot, shown = token.strip().partition(".")
    fingerprint = shown.replace(":", "").lower()
    if dot and not _FINGERPRINT.fullmatch(fingerprint):
        raise UsageError(
            "the install token does not end with a SHA-256 fingerprint", remedy="copy the token whole"
        )
    return secret, fingerprint


def is_of_way_back(token: str) -> bool:
    """Whether an install token enrols the launched machine of a server that was cut over."""
    return token.startswith("g2r_")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
