"""`POST /callbacks`: the API tells the platform of an event, which counts it.

Nobody waits for the wake yet: it is there for live events to come.

The signature is checked with the secret that the two roles share, and its age, so that a recorded callback
counts for nothing later. What the event says is not used: whoever is woken is to ask the API.
"""

import time
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, status

from app.contract import signedcallback
from app.kit.errors import Unavailable
from app.platform.bodies import body_of
from app.platform.upstream import Upstream

MOST_BYTES = 65_536

router = APIRouter(include_in_schema=False)


class CallbacksOff(Unavailable):
    """This platform has no secret to check callbacks with."""

    code = "CALLBACKS_OFF"


@router.post("/callbacks", status_code=status.HTTP_204_NO_CONTENT)
async def take_callback(
    request: Request,
    upstream: Upstream,
    event_id: Annotated[str, Header(alias=signedcallback.EVENT_ID)] = "",
    signature: Annotated[str, Header(alias=signedcallback.SIGNATURE)] = "",
) -> Response:
    """Count it, and wake whoever waits for news. Raises CallbacksOff, SignatureRefused, TooLarge."""
    if upstream.callback_secret is None:
        raise CallbacksOff(
            "the platform has no secret for callbacks", remedy="set CALLBACKS.SECRET as for role api"
        )
    stream = body_of(request, MOST_BYTES)
    body = b"" if stream is None else b"".join([piece async for piece in stream])
    signedcallback.require_signed(upstream.callback_secret, signature, event_id, body, time.time())
    upstream.wakes.wake()
    return Response(status_code=status.HTTP_204_NO_CONTENT)
