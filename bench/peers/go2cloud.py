"""go2cloud itself: a real service process and the real agent program, plain and with TLS."""

import hashlib
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bench.network import TARGET, End
from bench.peers.peer import EVERY, PORT, PeerKind, Stage
from bench.plan import Case
from bench.processes import Process, ProcessFailed

_SERVICE: Final = [sys.executable, "-m", "app"]
AGENT: Final = [sys.executable, "-m", "app.agent.daemon"]
USER: Final = "bench"
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for the target's address."""

    cert: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its DER form."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.cert.read_text())).hexdigest()


@dataclass
class Go2cloud:
    """The agent at the source, the service at the target."""

    stage: Stage
    certificate: Certificate | None
    server: str = ""
    exported: int = 0
    password: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the service, beside those that it always has."""

    @property
    def state(self) -> Path:
        """The agent's."""
        return self.stage.folder / "agent"

    @property
    def url(self) -> str:
        """The service's."""
        return f"{'https' if self.certificate else 'http'}://{TARGET}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """The service's settings and the operator's home."""
        folder = self.stage.folder
        settings = {
            **self.settings,
            "HOME": str(folder),
            "G2C_DATA_DIR": str(folder / "data"),
            "G2C_HTTP_LISTEN_HOST": TARGET,
            "G2C_HTTP_LISTEN_PORT": str(PORT),
            "G2C_LOG_FORMAT": "json",
            "G2C_STORE__RESERVE_BYTES": "1MiB",
        }
        if self.certificate is None:
            return settings
        return settings | {
            "G2C_TLS__CERT_FILE": str(self.certificate.cert),
            "G2C_TLS__KEY_FILE": str(self.certificate.key),
            "SSL_CERT_FILE": str(self.certificate.cert),
        }

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        if case is Case.EXPORT:
            self.export(self.server)
            return
        command = [*AGENT, "run", "--once", "--no-yield", "--state-dir", str(self.state)]
        self.stage.processes.run(End.SOURCE, command)

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.export(self.server)

    def set_up(self) -> None:
        """A running service, an operator who is logged in, and an agent that is enrolled."""
        self.serve()
        self.server = self.enroll(self.state, self.stage.image.path)

    def serve(self) -> Process:
        """Start the service; an operator is logged in, `password` is theirs."""
        processes = self.stage.processes
        said = processes.run(End.TARGET, [*_SERVICE, "admin", "create", USER], self.environment)
        self.password = said.splitlines()[-1]
        command = [*_SERVICE, "serve", "--role", "all"]
        service = processes.start(End.TARGET, command, environment=self.environment)
        processes.await_listener(service, PORT)
        self._log_in()
        return service

    def enroll(self, state: Path, *disks: Path) -> str:
        """Enrol an agent with a state folder of its own for disks; the server's id."""
        token = self.operate("install-token", "create").splitlines()[-1].partition(".")[0]
        pinned = f"{token}.{self.certificate.fingerprint}" if self.certificate else token
        options = ["--url", self.url, "--token", pinned, "--state-dir", str(state)]
        options += [word for disk in disks for word in ("--disk", str(disk))]
        flags = ["--allow-plain-http", "--no-preflight"]
        self.stage.processes.run(End.SOURCE, [*AGENT, "enroll", *options, *flags])
        status = [*AGENT, "status", "--json", "--state-dir", str(state)]
        return str(json.loads(self.stage.processes.run(End.SOURCE, status))["serverId"])

    def operate(self, *arguments: str) -> str:
        """Run a command as the operator; what it said. Raises ProcessFailed."""
        return self.stage.processes.run(End.TARGET, [*_SERVICE, *arguments], self.environment)

    def export(self, server: str) -> Path:
        """A raw image of the server's newest checkpoint."""
        self.exported += 1
        output = self.stage.folder / f"export-{self.exported}.raw"
        self.operate("replica", "export", server, "--output", str(output))
        return output

    def _log_in(self) -> None:
        """The service may listen before it answers."""
        deadline = time.monotonic() + _READY_SECONDS
        secret = self.stage.folder / "password"
        secret.write_text(self.password + "\n")
        command = [*_SERVICE, "login", self.url, "--user", USER, "--password-stdin"]
        while True:
            with secret.open("rb") as given:
                process = self.stage.processes.start(
                    End.TARGET, command, stdin=given, environment=self.environment
                )
                if process.wait(_READY_SECONDS) == 0:
                    return
            if time.monotonic() > deadline:
                raise ProcessFailed(f"nobody can log in:\n{process.log.read_text()}")


def _certificate(folder: Path) -> Certificate:
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=go2cloud"]
    files = ["-keyout", str(made.key), "-out", str(made.cert), "-addext", f"subjectAltName=IP:{TARGET}"]
    subprocess.run(["openssl", "req", "-x509", *options, *files], check=True, capture_output=True)
    return made


@contextmanager
def _open(stage: Stage, *, is_tls: bool) -> Iterator[Go2cloud]:
    peer = Go2cloud(stage, _certificate(stage.folder) if is_tls else None)
    peer.set_up()
    yield peer


GO2CLOUD = PeerKind(
    "go2cloud", (), frozenset(Case), EVERY, skips_free=True, open=partial(_open, is_tls=False)
)
GO2CLOUD_TLS = PeerKind(
    "go2cloud+tls", ("openssl",), frozenset(Case), EVERY, skips_free=True, open=partial(_open, is_tls=True)
)
