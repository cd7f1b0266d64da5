"""AWS Signature Version 4 of one request whose body's SHA-256 is known.

    canonical request = lines of: method, path, query, each header, an empty one, the headers' names, and the
                        SHA-256 of the body
    string to sign    = lines of: AWS4-HMAC-SHA256, time, day/region/s3/aws4_request, SHA-256 of the above
    signing key       = HMAC chain over AWS4 + secret key, day, region, s3, aws4_request

Source: AWS, "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API reference. The body's hash is
signed, so that a byte that the network changed is refused.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

from app.launch.bucket.settings import AccessKeys

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "s3"
_END: Final = "aws4_request"


@dataclass(frozen=True)
class Unsigned:
    """A request as it is before it is signed."""

    method: str
    host: str
    """As in the header: with the port where it is not the scheme's own."""
    path: str
    """Not encoded."""
    query: Mapping[str, str]
    sha256: str
    """Of the body, hexadecimal."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All of them are signed; names in lower case."""

    @property
    def raw_path(self) -> str:
        """The path as it is sent."""
        return quote(self.path, safe="/-_.~")

    @property
    def raw_query(self) -> str:
        """The query as it is sent."""
        return "&".join(
            f"{quote(name, safe='-_.~')}={quote(self.query[name], safe='-_.~')}"
            for name in sorted(self.query)
        )


def signed(request: Unsigned, keys: AccessKeys, region: str, at: datetime) -> dict[str, str]:
    """All headers of the request, with its signature; `at`, in UTC, is within 15 minutes of the server's."""
    time = at.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        **request.headers,
        "host": request.host,
        "x-amz-date": time,
        "x-amz-content-sha256": request.sha256,
    }
    if keys.token is not None:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    scope = f"{time[:8]}/{region}/{_SERVICE}/{_END}"
    text = "\n".join((_ALGORITHM, time, scope, _sha256(_canonical(request, headers, names))))
    signature = hmac.new(_signing_key(keys.secret, scope), text.encode(), hashlib.sha256).hexdigest()
    said = f"{_ALGORITHM} Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}"
    return {**headers, "authorization": said}


def _canonical(request: Unsigned, headers: Mapping[str, str], names: str) -> str:
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    return "\n".join((request.method, request.raw_path, request.raw_query, lines, names, request.sha256))


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
