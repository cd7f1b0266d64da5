"""rdiff: signature of the copy, delta against it, patch; what librsync makes of a disk.

It writes a new copy each time: it cannot change one in place.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.network import TARGET, End
from bench.peers.peer import EVERY, PORT, PeerKind, Stage, receiving, sending
from bench.plan import BLOCK, Case
from bench.processes import require_all_good


@dataclass(frozen=True)
class Rdiff:
    """rdiff at both ends; signature and delta cross the wire through zstd."""

    stage: Stage

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is not Case.EXPORT
        self._sign()
        self._patch()
        self.stage.processes.run(End.TARGET, self.stage.sync_command())

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target

    def _file(self, name: str) -> Path:
        return self.stage.folder / name

    def _sign(self) -> None:
        """The signature of the copy, on its way to the source."""
        processes, port = self.stage.processes, PORT + 1
        sign = ["rdiff", "-b", str(BLOCK), "signature", str(self.stage.target)]
        fetch = ["socat", "-u", f"TCP:{TARGET}:{port}", f"CREATE:{self._file('signature')}"]
        sender = processes.pipe(End.TARGET, sign, _serving(port))
        processes.await_listener(sender[-1], port)
        require_all_good([*sender, processes.start(End.SOURCE, fetch)])

    def _patch(self) -> None:
        """The delta, and the copy made anew from it."""
        processes, fresh = self.stage.processes, self._file("fresh.raw")
        delta = ["rdiff", "delta", str(self._file("signature")), str(self.stage.image.path)]
        patch = ["rdiff", "-f", "patch", str(self.stage.target), "-", str(fresh)]
        receiver = processes.pipe(End.TARGET, receiving(), ["zstd", "-q", "-d", "-c"], patch)
        processes.await_listener(receiver[0], PORT)
        sender = processes.pipe(End.SOURCE, delta, ["zstd", "-q", "-1", "-c"], sending())
        require_all_good([*sender, *receiver])
        fresh.rename(self.stage.target)


def _serving(port: int) -> list[str]:
    return ["socat", "-u", "STDIN", f"TCP-LISTEN:{port},bind={TARGET},reuseaddr"]


@contextmanager
def _open(stage: Stage) -> Iterator[Rdiff]:
    stage.target.touch()
    yield Rdiff(stage)


_CASES = frozenset({Case.FULL, Case.UNCHANGED, Case.CHANGED})
RDIFF = PeerKind("rdiff", ("rdiff", "zstd", "socat"), _CASES, EVERY, skips_free=False, open=_open)
