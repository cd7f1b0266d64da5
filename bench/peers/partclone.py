"""partclone | zstd -1 -T0 | socat: used blocks only, of a filesystem that it knows and nobody has mounted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.network import End
from bench.peers.peer import COPIES_ALL, PORT, PeerKind, Stage, receiving, sending
from bench.plan import Case, Data
from bench.processes import Process, require_all_good


@dataclass(frozen=True)
class Partclone:
    """partclone at both ends; the receiving pipe waits for its one connection."""

    stage: Stage
    receiver: list[Process]

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is Case.FULL
        log = str(self.stage.folder / "partclone-source.log")
        source = ["partclone.ext4", "-q", "-c", "-L", log, "-s", str(self.stage.image.path), "-o", "-"]
        sender = self.stage.processes.pipe(End.SOURCE, source, ["zstd", "-q", "-1", "-T0", "-c"], sending())
        require_all_good([*sender, *self.receiver])
        self.stage.processes.run(End.TARGET, self.stage.sync_command())

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target


@contextmanager
def _open(stage: Stage) -> Iterator[Partclone]:
    stage.make_target()
    log = str(stage.folder / "partclone-target.log")
    target = ["partclone.ext4", "-q", "-r", "-C", "-L", log, "-s", "-", "-O", str(stage.target)]
    receiver = stage.processes.pipe(End.TARGET, receiving(), ["zstd", "-q", "-d", "-c"], target)
    stage.processes.await_listener(receiver[0], PORT)
    yield Partclone(stage, receiver)


PARTCLONE = PeerKind(
    "partclone+zstd",
    ("partclone", "zstd", "socat"),
    COPIES_ALL,
    frozenset({Data.REALISTIC}),
    skips_free=True,
    open=_open,
)
