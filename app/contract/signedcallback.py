"""How a callback is signed, and how a receiver checks it.

The header `X-Go2cloud-Signature` is ``t=<unix seconds>,v1=<hex>``: the HMAC-SHA256 (RFC 2104) under the
secret that both sides have, of the bytes ``<t>.<event id>.<body>``. The time and the id are under the
signature, so that neither an old delivery nor the body of another one passes for a new event. The id is
``evt-`` and lower-case letters and digits: with a dot in it, it could be a part of the body.
"""

import hashlib
import hmac
import re
from typing import Final

from app.kit.errors import Unauthenticated

SIGNATURE: Final = "X-Go2cloud-Signature"
EVENT: Final = "X-Go2cloud-Event"
EVENT_ID: Final = "X-Go2cloud-Event-Id"
ATTEMPT: Final = "X-Go2cloud-Attempt"
WINDOW_SECONDS: Final = 300
"""How old a signature may be, and how far ahead the clock of the sender."""

_EVENT_ID = re.compile(r"evt-[0-9a-z]+")
_HEADER = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


class SignatureRefused(Unauthenticated):
    """The callback is not signed with the shared secret, or was signed too long ago."""

    code = "SIGNATURE_REFUSED"


def signed(secret: str, at: int, event_id: str, body: bytes) -> str:
    """The header for a delivery at `at` (unix seconds)."""
    return f"t={at},v1={_mac(secret, str(at), event_id, body)}"


def require_signed(secret: str, header: str, event_id: str, body: bytes, now: float) -> None:
    """Raise SignatureRefused unless the header is one that `signed` made a short while ago for this event."""
    found = _HEADER.fullmatch(header)
    if found is None:
        raise SignatureRefused(
            f"the header {SIGNATURE} is missing or malformed", remedy="send t=<unix>,v1=<hex>"
        )
    if not _EVENT_ID.fullmatch(event_id):
        raise SignatureRefused(f"the header {EVENT_ID} is missing or malformed", remedy="send evt-…")
    if not hmac.compare_digest(_mac(secret, found[1], event_id, body), found[2]):
        raise SignatureRefused(
            "the signature is not that of this body", remedy="let both sides have the same secret"
        )
    if abs(now - int(found[1])) > WINDOW_SECONDS:
        raise SignatureRefused(
            f"the signature is more than {WINDOW_SECONDS} seconds away from now",
            remedy="set the clocks of both hosts",
        )


def _mac(secret: str, at: str, event_id: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at}.{event_id}.".encode() + body, hashlib.sha256).hexdigest()
