"""qemu-img convert to qemu-nbd, without compression."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.network import TARGET, End
from bench.peers.peer import COPIES_ALL, EVERY, PORT, PeerKind, Stage
from bench.plan import Case


@dataclass(frozen=True)
class QemuImg:
    """qemu-img at the source, qemu-nbd at the target."""

    stage: Stage

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is Case.FULL
        url = f"nbd://{TARGET}:{PORT}"
        command = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(self.stage.image.path), url]
        self.stage.processes.run(End.SOURCE, command)

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target


@contextmanager
def _open(stage: Stage) -> Iterator[QemuImg]:
    stage.make_target()
    command = ["qemu-nbd", "-f", "raw", "-t", "-b", TARGET, "-p", str(PORT), str(stage.target)]
    stage.processes.await_listener(stage.processes.start(End.TARGET, command), PORT)
    yield QemuImg(stage)


QEMU = PeerKind("qemu-img", ("qemu-utils",), COPIES_ALL, EVERY, skips_free=False, open=_open)
