"""One try of a check against a running machine: what it found, as a sentence."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final

from app.launch.boot.checks import HttpCheck, ScriptCheck, TcpCheck
from app.launch.boot.console import Console
from app.launch.boot.searching import SearchTooLong, search
from app.launch.errors import SettingsWrong
from app.launch.threads import in_thread

ADDRESS: Final = "127.0.0.1"
TRY_SECONDS: Final = 10
"""For one connection or one answer. A guest that is starting leaves connections hanging."""
MOST_SECONDS: Final = 2 * TRY_SECONDS
"""For a whole answer."""
MOST_BODY: Final = 1024 * 1024
MOST_OUTPUT: Final = 4096
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Try:
    """How one try ended."""

    passed: bool
    detail: str


async def try_once(console: Console, check: TcpCheck | HttpCheck | ScriptCheck) -> Try:
    """Try a check once, within its time."""
    if isinstance(check, ScriptCheck):
        return await try_script(console, check)
    local = forwarded(console, check.port)
    if isinstance(check, HttpCheck):
        return await in_thread(try_http, local, check)
    return await try_tcp(console, check.port, local)


def forwarded(console: Console, guest: int) -> int:
    """The port of 127.0.0.1 that leads to the guest's. Raises SettingsWrong where none does."""
    for forward in console.forwards:
        if forward.guest == guest:
            return forward.host
    raise SettingsWrong(
        f"port {guest} of instance {console.instance} is not forwarded",
        remedy="name the ports of all checks in the machine's ports",
    )


async def try_tcp(console: Console, guest: int, host: int) -> Try:
    """Connect, and ask the hypervisor whether the guest accepted.

    Its forwarder accepts in the guest's stead before the guest was asked: to connect proves nothing.
    """
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(ADDRESS, host), TRY_SECONDS)
    except OSError as error:
        return Try(False, f"port {guest}: {error.strerror or error}")
    try:
        for _ in range(TRY_SECONDS * 2):
            if await console.accepted(guest):
                return Try(True, f"port {guest} accepts connections")
            if reader.at_eof():
                return Try(False, f"port {guest} refuses connections")
            await asyncio.sleep(0.5)
        return Try(False, f"port {guest} does not answer")
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the guest's reset is an answer, not an error of ours
            await writer.wait_closed()


def try_http(host: int, check: HttpCheck) -> Try:
    """Ask and compare. Blocks for at most about MOST_SECONDS, and for as long again as a pattern may take."""
    try:
        with socket.create_connection((ADDRESS, host), TRY_SECONDS) as plain, _ended_in_time(plain):
            status, body = _answer(plain, check)
    except (TimeoutError, OSError, HTTPException) as error:
        return Try(False, f"GET {check.path} on port {check.port}: {error or type(error).__name__}")
    return _compared(check, status, body)


@contextlib.contextmanager
def _ended_in_time(plain: socket.socket) -> Iterator[None]:
    """Break the connection off after MOST_SECONDS, whatever is read: a guest may answer a byte at a time.

    By a descriptor of its own, since TLS takes the socket's away.
    """
    with plain.dup() as guard:
        timer = threading.Timer(MOST_SECONDS, _break_off, (guard,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _break_off(guard: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the guest has ended it meanwhile
        guard.shutdown(socket.SHUT_RDWR)


def _answer(plain: socket.socket, check: HttpCheck) -> tuple[int, bytes]:
    """The status and at most about MOST_BODY of the body."""
    connection = HTTPConnection(ADDRESS, check.port)
    connection.sock = _unverified(plain) if check.tls else plain
    with contextlib.closing(connection):
        connection.request("GET", check.path, headers={"Host": check.host or f"{ADDRESS}:{check.port}"})
        answer = connection.getresponse()
        until, body = time.monotonic() + TRY_SECONDS, b""
        while len(body) < MOST_BODY and time.monotonic() < until and (piece := answer.read1(65536)):
            body += piece
        return answer.status, body


def _unverified(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=ADDRESS)


def _compared(check: HttpCheck, status: int, body: bytes) -> Try:
    text = body.decode("utf-8", "replace")
    if status != check.status:
        return Try(False, f"GET {check.path}: status {status} instead of {check.status}")
    if check.body is None:
        return Try(True, f"GET {check.path}: status {status}, {len(body)} bytes")
    try:
        found = search(check.body, text)
    except SearchTooLong as error:
        return Try(False, f"GET {check.path}: the pattern {check.body!r} cannot be looked for: {error}")
    if found is None:
        return Try(False, f"GET {check.path}: nothing in the body matches {check.body!r}: {text[:200]!r}")
    return Try(True, f"GET {check.path}: status {status}, the body has {found!r}")


async def try_script(console: Console, check: ScriptCheck) -> Try:
    """Run the operator's program in a process group of its own, which does not outlive its time."""
    environment = {"PATH": _PATH, "GO2CLOUD_INSTANCE": console.instance, "GO2CLOUD_ADDRESS": ADDRESS}
    environment |= {f"GO2CLOUD_PORT_{forward.guest}": str(forward.host) for forward in console.forwards}
    try:
        process = await asyncio.create_subprocess_exec(
            *check.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Try(False, f"{check.argv[0]} cannot be run: {error.strerror or error}")
    try:
        said = await asyncio.wait_for(_output(process), check.seconds)
    except TimeoutError:
        return Try(False, f"{check.argv[0]} did not end within {check.seconds:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError):  # the usual case: nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return Try(process.returncode == 0, f"{check.argv[0]} ended with {process.returncode}: {said}")


async def _output(process: asyncio.subprocess.Process) -> str:
    """The last output of a program, once it ended."""
    assert process.stdout is not None, "it was asked for"
    said = b""
    while piece := await process.stdout.read(65536):
        said = (said + piece)[-MOST_OUTPUT:]
    await process.wait()
    return said.decode("utf-8", "replace").strip()
