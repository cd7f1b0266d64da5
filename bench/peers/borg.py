"""borg create to a repository at the target, and extract there.

The cache of file times is off: a disk has no time of its own that would tell that nothing changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.network import TARGET, End
from bench.peers.peer import EVERY, PORT, PeerKind, Stage
from bench.plan import Case
from bench.processes import Process

_CHANGED: Final = "file changed while we backed it up"
_LONGEST_SECONDS: Final = 3600.0


@dataclass
class Borg:
    """borg at the source, `borg serve` at the target behind socat, which stands in for ssh."""

    stage: Stage
    archives: list[str] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        """Where the target keeps it."""
        return self.stage.folder / "repository"

    def environment(self, end: End) -> dict[str, str]:
        """Each end has a cache of its own."""
        return {
            "BORG_BASE_DIR": str(self.stage.folder / f"borg-{end}"),
            "BORG_RSH": str(self.stage.folder / "connect"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        if case is Case.EXPORT:
            self._extract()
            return
        archive = f"copy-{len(self.archives)}"
        url = f"ssh://target{self.repository}::{archive}"
        options = ["--files-cache=disabled", "--compression=zstd,1"]
        command = ["borg", "create", *options, url, str(self.stage.image.path)]
        process = self.stage.processes.start(End.SOURCE, command, environment=self.environment(End.SOURCE))
        process.wait(_LONGEST_SECONDS)
        if _CHANGED not in process.log.read_text():  # its only warning about a disk of a running host
            process.require_good()
        self.archives.append(archive)

    def result(self) -> Path:
        """See `Peer.result`."""
        self._extract()
        return self.stage.target

    def _extract(self) -> None:
        inside = str(self.stage.image.path).lstrip("/")
        name = f"{self.repository}::{self.archives[-1]}"
        with self.stage.target.open("wb") as target:
            process = self._start_extract(["borg", "extract", "--stdout", name, inside], target.fileno())
            process.require_good()
        self.stage.processes.run(End.TARGET, self.stage.sync_command())

    def _start_extract(self, command: list[str], target: int) -> Process:
        environment = self.environment(End.TARGET)
        return self.stage.processes.start(End.TARGET, command, stdout=target, environment=environment)


@contextmanager
def _open(stage: Stage) -> Iterator[Borg]:
    borg = Borg(stage)
    connect = stage.folder / "connect"
    connect.write_text(f"#!/bin/sh\nexec socat STDIO TCP:{TARGET}:{PORT}\n")
    connect.chmod(0o700)
    environment = borg.environment(End.TARGET)
    stage.processes.run(End.TARGET, ["borg", "init", "--encryption=none", str(borg.repository)], environment)
    listen = f"TCP-LISTEN:{PORT},bind={TARGET},reuseaddr,fork"
    server = stage.processes.start(End.TARGET, ["socat", listen, "EXEC:borg serve"], environment=environment)
    stage.processes.await_listener(server, PORT)
    yield borg


BORG = PeerKind("borg", ("borgbackup", "socat"), frozenset(Case), EVERY, skips_free=False, open=_open)
