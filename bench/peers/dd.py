"""dd | zstd -1 -T0 | socat: the pipe that everybody knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.network import End
from bench.peers.peer import COPIES_ALL, EVERY, PORT, PeerKind, Stage, receiving, sending
from bench.plan import Case
from bench.processes import Process, require_all_good


@dataclass(frozen=True)
class Dd:
    """dd at both ends; the receiving pipe waits for its one connection."""

    stage: Stage
    receiver: list[Process]

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is Case.FULL
        source = ["dd", f"if={self.stage.image.path}", "bs=1M"]
        sender = self.stage.processes.pipe(End.SOURCE, source, ["zstd", "-q", "-1", "-T0", "-c"], sending())
        require_all_good([*sender, *self.receiver])

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target


@contextmanager
def _open(stage: Stage) -> Iterator[Dd]:
    target = ["dd", f"of={stage.target}", "bs=1M", "iflag=fullblock", "conv=fsync"]
    receiver = stage.processes.pipe(End.TARGET, receiving(), ["zstd", "-q", "-d", "-c"], target)
    stage.processes.await_listener(receiver[0], PORT)
    yield Dd(stage, receiver)


DD = PeerKind("dd+zstd", ("coreutils", "zstd", "socat"), COPIES_ALL, EVERY, skips_free=False, open=_open)
