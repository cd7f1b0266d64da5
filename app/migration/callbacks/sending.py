"""One attempt to deliver one event: a signed POST, and what its answer means.

Each attempt opens a connection of its own to an address that was looked at before (`addresses`). The
certificate is checked against the name in the URL. No redirect is followed, no proxy of the environment is
used, and nothing of an answer but its status is read: whoever subscribes is not shown what an address says.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, replace
from typing import Final, Self

import httpx2

from app.contract import signedcallback
from app.contract.callbackwords import DeliveryOutcome as O
from app.kit.callbackkeys import CallbackSettings
from app.kit.clock import Clock
from app.migration.callbacks.addresses import permitted
from app.migration.callbacks.errors import AddressForbidden

THIS_EVENT: Final = frozenset({400, 413, 422})
"""Answers that say that the event itself is at fault: another one may fare better."""

MOST_TRIED: Final = 4
"""Addresses of one name, so that each gets time enough to take the connection."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where deliveries go, and the secret that they are signed with; `is_trusted`: to any address."""

    url: str
    secret: str
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """An event as it is sent; `attempt` counts from 1."""

    event_id: str
    kind: str
    body: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended; `status` where there was an answer, `detail` for people."""

    outcome: O
    detail: str
    milliseconds: int = 0
    status: int | None = None


class Sender:
    """Sends letters."""

    def __init__(self, settings: CallbackSettings, clock: Clock, trust: ssl.SSLContext | None = None) -> None:
        """Nothing is connected yet. `trust` None: the authorities that this host trusts."""
        self._settings = settings
        self._clock = clock
        self._http = httpx2.AsyncClient(
            verify=trust or ssl.create_default_context(),
            timeout=settings.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, receiver: Receiver, letter: Letter) -> Answer:
        """Send a letter; whatever happens is an answer."""
        began = time.monotonic()
        answer = await self._answer(receiver, letter)
        return replace(answer, milliseconds=int((time.monotonic() - began) * 1000))

    async def _answer(self, receiver: Receiver, letter: Letter) -> Answer:
        seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return _meaning(await self._post(receiver, letter))
        except AddressForbidden as error:
            return Answer(O.FORBIDDEN, str(error))
        except (TimeoutError, httpx2.TimeoutException):
            return Answer(O.TIMED_OUT, f"no answer within {seconds} seconds")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            return Answer(O.UNREACHABLE, str(error) or type(error).__name__)

    async def _post(self, receiver: Receiver, letter: Letter) -> int:
        """The status of the answer of the first address that takes the connection.

        Each address but the last has its share of the time for that.
        """
        url = httpx2.URL(receiver.url)
        allowed = None if receiver.is_trusted else self._settings.allow
        found = await permitted(host_of(url), url.port or _PORTS[url.scheme], allowed)
        *firsts, last = found[:MOST_TRIED]
        share = self._settings.timeout_seconds / (len(firsts) + 1)
        for address in firsts:
            try:
                return await self._post_to(address, url, receiver, letter, share)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._post_to(last, url, receiver, letter, self._settings.timeout_seconds)

    async def _post_to(
        self, address: str, url: httpx2.URL, receiver: Receiver, letter: Letter, connect_seconds: float
    ) -> int:
        body = letter.body.encode()
        at = int(self._clock.now().timestamp())
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "go2cloud",
            signedcallback.EVENT: letter.kind,
            signedcallback.EVENT_ID: letter.event_id,
            signedcallback.ATTEMPT: str(letter.attempt),
            signedcallback.SIGNATURE: signedcallback.signed(receiver.secret, at, letter.event_id, body),
        }
        async with self._http.stream(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=headers,
            timeout=httpx2.Timeout(self._settings.timeout_seconds, connect=connect_seconds),
            extensions={"sni_hostname": host_of(url)},
        ) as answer:
            return answer.status_code


def host_of(url: httpx2.URL) -> str:
    """The host as it stands in the URL, in ASCII: that of `URL.host` would be encoded anew, by IDNA 2003."""
    return url.raw_host.decode("ascii")


def _meaning(status: int) -> Answer:
    """What an answer's status says of the delivery."""
    if 200 <= status < 300:
        return Answer(O.DELIVERED, f"answered {status}", status=status)
    if status in THIS_EVENT:
        return Answer(O.REFUSED, f"answered {status}: the event was refused", status=status)
    redirected = ", a redirect, which is not followed" if 300 <= status < 400 else ""
    return Answer(O.FAILED, f"answered {status}{redirected}", status=status)
