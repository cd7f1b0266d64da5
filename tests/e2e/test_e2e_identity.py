"""Who speaks to whom: one live agent a server, and a service whose certificate is the pinned one."""

import hashlib
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment, embedded, until
from tests.e2e.replica import random_disk
from tests.e2e.source_host import SourceHost
from tests.services.processes import required_binary

MIB = 1 << 20


def test_a_copy_of_a_live_agent_is_refused_and_may_take_over_later(
    embedded_deployment: Deployment, tmp_path: Path
) -> None:
    original = SourceHost(tmp_path / "agent")
    original.enroll(embedded_deployment, random_disk(tmp_path / "disk.img", 2 * MIB))
    copy = SourceHost(tmp_path / "copy")
    shutil.copytree(original.state, copy.state)
    with original.running() as process:
        assert process.stdout is not None
        until(lambda: "summary" in str(process.stdout and process.stdout.readline()), 60, "a first sync")
        code, message = copy.refused("run", "--once")
        assert (code, "DUPLICATE_AGENT" in message) == (1, True), message
    until(lambda: copy.attempt("run", "--once").returncode == 0, 30, "the killed agent's lease ended")


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for the loopback address."""

    cert: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its DER form."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.cert.read_text())).hexdigest()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A fresh certificate."""
    made = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    openssl = required_binary("openssl", "openssl")
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=go2cloud"]
    files = ["-keyout", str(made.key), "-out", str(made.cert)]
    subprocess.run(
        [openssl, "req", "-x509", *options, *files, "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    return made


@pytest.fixture
def secured(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """A service on TLS whose install tokens pin its certificate."""
    folder = tmp_path / "service"
    folder.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
    settings = {
        "G2C_TLS__CERT_FILE": str(certificate.cert),
        "G2C_TLS__KEY_FILE": str(certificate.key),
        "G2C_AGENT__CERT_FINGERPRINT": certificate.fingerprint,
    }
    with embedded(folder, **settings) as running:
        yield running


def test_an_agent_replicates_to_the_pinned_certificate_and_to_no_other(
    secured: Deployment, certificate: Certificate, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 4 * MIB)
    token = secured.install_token(uses=2)
    assert token.endswith(certificate.fingerprint)
    host = SourceHost(tmp_path / "agent")
    host.enroll(secured, disk, token=token)
    assert host.sync()["number"] == 1
    stranger = SourceHost(tmp_path / "stranger")
    false = token.partition(".")[0] + "." + "ab" * 32
    where = ("--url", secured.agent_url, "--token", false, "--disk", str(disk))
    code, message = stranger.refused("enroll", *where)
    assert (code, "CERTIFICATE_NOT_PINNED" in message) == (1, True), message
    assert not list(stranger.state.glob("enrolment.json"))


def test_plain_http_to_another_host_is_refused_by_name(tmp_path: Path) -> None:
    host = SourceHost(tmp_path / "agent")
    code, message = host.refused("enroll", "--url", "http://198.51.100.7:8005", "--token", "g2i_x")
    assert code == 2 or code == 1, message
    assert "http" in message


def test_a_wrong_token_is_denied(embedded_deployment: Deployment, tmp_path: Path) -> None:
    host = SourceHost(tmp_path / "agent")
    disk = random_disk(tmp_path / "disk.img", MIB)
    where = ("--url", embedded_deployment.agent_url, "--token", "g2i_wrong", "--disk", str(disk))
    code, message = host.refused("enroll", *where)
    assert (code, "INSTALL_TOKEN_INVALID" in message) == (4, True), message


def test_status_says_who_the_agent_is(embedded_deployment: Deployment, tmp_path: Path) -> None:
    host = SourceHost(tmp_path / "agent")
    server = host.enroll(embedded_deployment, random_disk(tmp_path / "disk.img", MIB))
    status = json.loads(host.call("status", "--json"))
    assert status["serverId"] == server
    assert "credential" not in json.dumps(status)
