"""Bandwidth of one connection: bytes that cannot be compressed, up into a sink, down from a source.

The receiving end counts in both directions: what stands in the buffers of the sending end has not arrived.
"""

import contextlib
import http.client
import os
import time
from typing import Final

from app.agent.daemon.errors import LinkError
from app.agent.daemon.link.answer import read_answer, refusal
from app.agent.daemon.link.connection import is_quiet, send_all, translated
from app.agent.daemon.link.link import BYTES, STALL_SECONDS, Link
from app.wire.chunks import KIB, MIB
from app.wire.errors import MessageError
from app.wire.jsonform import decode
from app.wire.preflight import SinkResult

MOST_BYTES: Final = 64 * MIB
SECONDS: Final = 3.0
"""How long bytes are sent, or taken; the service ends by itself a little later."""
PIECE_BYTES: Final = 64 * KIB
SINK: Final = "/preflight/sink"
SOURCE: Final = f"/preflight/source?bytes={MOST_BYTES}"
_SALT_BYTES: Final = 4 * MIB
"""Random bytes that are sent over and over: more than a proxy's compression looks back."""


def upload(link: Link) -> int:
    """Bytes a second to the service. Raises LinkError, Refusal."""
    connection = link.open_connection()
    try:
        with translated(link.endpoint):
            _begin(link, connection, "POST", SINK, {"Transfer-Encoding": "chunked"})
            # the service may have heard enough: its answer is there all the same, else reading it fails
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _fill(connection)
            body = read_answer(connection.getresponse(), 4 * KIB)
    finally:
        link.discard(connection)
    return _rate_of(body)


def _begin(
    link: Link, connection: http.client.HTTPConnection, method: str, path: str, more: dict[str, str]
) -> None:
    connection.putrequest(method, link.path(path), skip_accept_encoding=True)
    for name, value in {**link.headers(BYTES), **more}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.sock.settimeout(STALL_SECONDS)


def _fill(connection: http.client.HTTPConnection) -> None:
    """Send pieces until time or bytes are over, or the service answers early."""
    salt = os.urandom(_SALT_BYTES)
    end = time.monotonic() + SECONDS
    for at in range(0, MOST_BYTES, PIECE_BYTES):
        if time.monotonic() > end or not is_quiet(connection.sock):
            break
        piece = salt[at % _SALT_BYTES : at % _SALT_BYTES + PIECE_BYTES]
        send_all(connection.sock, b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")))
    send_all(connection.sock, b"0\r\n\r\n")


def _rate_of(body: bytes) -> int:
    try:
        result = decode(SinkResult, body)
    except MessageError as error:
        raise LinkError(f"the service's answer is not understood: {error}", code="BAD_ANSWER") from error
    return round(result.received * 1_000_000 / max(1, result.elapsed_us))


def download(link: Link) -> int:
    """Bytes a second from the service. Raises LinkError, Refusal."""
    connection = link.open_connection()
    try:
        with translated(link.endpoint):
            _begin(link, connection, "GET", SOURCE, {})
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise refusal(response, response.read(64 * KIB))
            return _drain(response)
    finally:
        link.discard(connection)


def _drain(response: http.client.HTTPResponse) -> int:
    first = len(response.read1(PIECE_BYTES))
    began = now = time.monotonic()
    count = 0
    while now - began < SECONDS and (piece := response.read1(PIECE_BYTES)):
        count += len(piece)
        now = time.monotonic()
    return round(count / (now - began)) if count else first
