"""nbdcopy to nbdkit's file plugin: the fastest of the block copiers, without compression."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.network import TARGET, End
from bench.peers.peer import COPIES_ALL, EVERY, PORT, PeerKind, Stage
from bench.plan import Case


@dataclass(frozen=True)
class Nbdcopy:
    """nbdcopy at the source, nbdkit at the target."""

    stage: Stage

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is Case.FULL
        url = f"nbd://{TARGET}:{PORT}"
        self.stage.processes.run(End.SOURCE, ["nbdcopy", "--flush", str(self.stage.image.path), url])

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target


@contextmanager
def _open(stage: Stage) -> Iterator[Nbdcopy]:
    stage.make_target()
    command = ["nbdkit", "-f", "-i", TARGET, "-p", str(PORT), "file", str(stage.target)]
    stage.processes.await_listener(stage.processes.start(End.TARGET, command), PORT)
    yield Nbdcopy(stage)


NBDCOPY = PeerKind("nbdcopy", ("libnbd-bin", "nbdkit"), COPIES_ALL, EVERY, skips_free=False, open=_open)
