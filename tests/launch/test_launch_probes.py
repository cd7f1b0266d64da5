"""One try of each check against a real service of this machine in the guest's place."""

import asyncio
import os
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.contract.words import Accelerator
from app.kit.clock import SystemClock
from app.launch.boot import probes, searching
from app.launch.boot.checks import CheckPlan, HttpCheck, LoginCheck, ScriptCheck, TcpCheck
from app.launch.boot.evidence import Evidence
from app.launch.boot.phases import NamedFailure
from app.launch.boot.probes import try_http, try_once, try_script
from app.launch.boot.screen import Picture
from app.launch.boot.watch import BootWatch
from app.launch.errors import SettingsWrong
from app.launch.machine import Forward
from tests.services.processes import required_binary


@dataclass(frozen=True)
class Here:
    """This machine seen as a guest: its ports are the guest's."""

    forwards: tuple[Forward, ...] = ()
    serial: Path = Path("/dev/null")
    instance: str = "ins-1"
    target: str = "here"
    accelerator: Accelerator = Accelerator.TCG

    async def start(self) -> str:
        return "first"

    def after(self) -> float:
        return 1.0

    async def alive(self) -> bool:
        return True

    async def fault(self) -> NamedFailure | None:
        return None

    async def picture(self) -> Picture | None:
        return None

    async def accepted(self, guest: int) -> bool:
        return True

    def last_words(self) -> str:
        return ""


@asynccontextmanager
async def answering(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that gives this answer to whoever asks."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "passed", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nversion\n 42", True, "42"),
        (b"HTTP/1.1 200 OK\r\n\r\nversion 41", False, "version 41"),
        (b"HTTP/1.1 503 No\r\n\r\nversion 42", False, "503"),
        (b"SSH-2.0-OpenSSH\r\n", False, "SSH-2.0"),
        (b"", False, "GET / on port 80"),
    ],
)
async def test_an_answer_is_compared_with_status_and_pattern(answer: bytes, passed: bool, says: str) -> None:
    async with answering(answer) as port:
        found = await asyncio.to_thread(try_http, port, HttpCheck(80, body="version.*42"))
    assert found.passed is passed
    assert says in found.detail


async def test_a_port_that_is_not_forwarded_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(SettingsWrong, match="not forwarded"):
        await try_once(Here(), TcpCheck(80))


async def test_a_script_gets_the_ports_and_its_last_words_are_kept() -> None:
    check = ScriptCheck(("sh", "-c", "echo $GO2CLOUD_ADDRESS:$GO2CLOUD_PORT_80 $GO2CLOUD_INSTANCE; exit 3"))
    found = await try_script(Here((Forward(80, 40080),)), check)
    assert not found.passed
    assert found.detail == "sh ended with 3: 127.0.0.1:40080 ins-1"


async def test_a_script_out_of_time_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    check = ScriptCheck(("sh", "-c", f"sleep 60 & echo $! > {pids}; wait"), seconds=1)
    found = await try_script(Here(), check)
    assert not found.passed
    assert "did not end" in found.detail
    child = int(pids.read_text())
    for _ in range(100):
        if not runs(child):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the script's child still runs")


def runs(pid: int) -> bool:
    """Whether a process is there and not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_script_that_is_not_there_says_so() -> None:
    found = await try_script(Here(), ScriptCheck(("/nowhere/check",)))
    assert (found.passed, "cannot be run" in found.detail) == (False, True)
    assert os.sep in found.detail


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: HttpCheck(80, body="("),
        lambda: HttpCheck(80, body="a{99999999999999999999}"),
        lambda: HttpCheck(80, body="(" * 499 + ")" * 499),
        lambda: HttpCheck(80, path="/größe"),
        lambda: HttpCheck(80, host="a\r\nX: y"),
        lambda: HttpCheck(80, path="/ HTTP/1.1\r\nX: y"),
        lambda: ScriptCheck(()),
        lambda: CheckPlan(()),
        lambda: CheckPlan((LoginCheck(), LoginCheck())),
        lambda: CheckPlan(seconds=0),
    ],
)
def test_checks_that_cannot_be_made_are_refused_before_anything_starts(wrong: type) -> None:
    with pytest.raises(SettingsWrong):
        wrong()


async def test_a_pattern_without_end_stops_its_own_search_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "SEARCH_SECONDS", 1)
    looks = 0
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 60) as port:
        asked = asyncio.create_task(asyncio.to_thread(try_http, port, HttpCheck(80, body="(a+)+b")))
        while not asked.done():
            await asyncio.sleep(0.05)
            looks += 1
    assert not asked.result().passed
    assert "cannot be looked for" in asked.result().detail
    assert looks > 1, "the loop goes on meanwhile"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("endless", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x"])
async def test_an_answer_without_end_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, endless: bytes, tls: bool
) -> None:
    monkeypatch.setattr(probes, "MOST_SECONDS", 0.5)
    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            asked = asyncio.create_task(reader.read())
            while not asked.done():
                writer.write(b"\x16\x03\x01\x40\x00" if tls else endless)
                await asyncio.wait({asked}, timeout=0.1)
            await asked
        writer.transport.abort()
        over.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        asked = asyncio.to_thread(try_http, server.sockets[0].getsockname()[1], HttpCheck(80, tls=tls))
        found = await asyncio.wait_for(asked, 8)
        await asyncio.wait_for(over.wait(), 8)
    assert not found.passed


class Late(Here):
    """A machine that was launched long before anybody looks."""

    def after(self) -> float:
        return 1000 + time.monotonic()


async def test_a_machine_that_is_found_again_late_is_looked_at_before_its_time_is_over(
    tmp_path: Path,
) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\nfine") as port:
        plan = CheckPlan((HttpCheck(80),), seconds=30, settle_seconds=0)
        console = Late((Forward(80, port),))
        proof = await BootWatch(console, plan, Evidence(tmp_path), SystemClock()).run()
    assert proof.passed, proof.detail


@pytest.fixture
def foreign(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS, by a certificate for another name."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    files = ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=another"]
    openssl = [required_binary("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    subprocess.run([*openssl, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def test_an_answer_by_tls_is_compared_whatever_its_certificate_says(foreign: ssl.SSLContext) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\nsecret", foreign) as port:
        check = HttpCheck(80, body="secret", host="www.example.org", tls=True)
        found = await asyncio.to_thread(try_http, port, check)
    assert found.passed, found.detail
