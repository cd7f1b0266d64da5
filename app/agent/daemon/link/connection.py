"""One connection to the service: TLS with its certificate checked before a byte of ours is sent.

Foreign exceptions (socket, ssl, http.client) are translated into this program's own here and nowhere else.
"""

import contextlib
import hashlib
import hmac
import http.client
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

from app.agent.daemon.errors import LinkError, LinkRefused
from app.agent.daemon.link.endpoint import Endpoint
from app.wire.buffers import Buffer

CONNECT_SECONDS: Final = 10.0


def connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    """An open connection. Raises LinkError; LinkRefused for a certificate that is not accepted."""
    with translated(endpoint):
        made = _make(endpoint)
        try:
            made.connect()
            if endpoint.is_tls and endpoint.fingerprint:
                _require_pinned(made, endpoint)
        except BaseException:
            made.close()
            raise
        return made


def _make(endpoint: Endpoint) -> http.client.HTTPConnection:
    host, port = endpoint.host, endpoint.port
    if endpoint.proxy:
        host, port = endpoint.proxy.host, endpoint.proxy.port
    made: http.client.HTTPConnection
    if endpoint.is_tls:
        context = _context(bool(endpoint.fingerprint))
        made = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)
    else:
        made = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
    if endpoint.proxy:
        made.set_tunnel(endpoint.host, endpoint.port, _proxy_headers(endpoint.proxy.user))
    return made


def _proxy_headers(user: str) -> dict[str, str]:
    if not user:
        return {}
    return {"Proxy-Authorization": "Basic " + b64encode(user.encode()).decode()}


def _context(is_pinned: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if is_pinned:
        # the exact certificate is compared instead, before anything is sent
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _require_pinned(connection: http.client.HTTPConnection, endpoint: Endpoint) -> None:
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(shown, endpoint.fingerprint):
        raise LinkRefused(
            f"{endpoint} shows another certificate ({shown[:16]}…) than the install token names",
            code="CERTIFICATE_NOT_PINNED",
            remedy="make sure that nobody stands in between; if the certificate was renewed, "
            "enrol again with a new install token",
        )


def send_all(sock: socket.socket, data: Buffer) -> None:
    """Send every byte. The socket's time-out counts for each wait and not for the whole, as in `sendall`:
    a slow link is not a dead one."""
    view = memoryview(data).cast("B")
    at = 0
    while at < len(view):
        at += sock.send(view[at:])


def is_quiet(sock: socket.socket) -> bool:
    """Whether nothing came in that nobody asked for. On a connection between two requests that would be its
    end, or a second answer to the one before, which the next request would take for its own."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)


def shut_down(connection: http.client.HTTPConnection) -> None:
    """Let whoever waits on this connection, in any thread, fail now. Does not block."""
    sock = connection.sock
    if isinstance(sock, socket.socket):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is not connected any more, which is what was wanted


@contextlib.contextmanager
def translated(endpoint: Endpoint) -> Iterator[None]:
    """Turn whatever goes wrong with a connection into LinkError or LinkRefused."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise LinkRefused(
            f"the certificate of {endpoint} is not trusted: {error.verify_message}",
            code="CERTIFICATE_NOT_TRUSTED",
            remedy="use an install token that carries its fingerprint, or trust its authority on this host",
        ) from error
    except TimeoutError as error:
        raise LinkError(
            f"{endpoint} did not answer in time", code="SERVICE_TIMEOUT", remedy="check network and firewall"
        ) from error
    except socket.gaierror as error:
        raise LinkError(f"the name of {endpoint} cannot be resolved: {error.strerror}") from error
    except (OSError, http.client.HTTPException) as error:
        raise LinkError(
            f"the connection to {endpoint} failed: {error or type(error).__name__}",
            remedy="check that the service is up and reachable from here",
        ) from error
