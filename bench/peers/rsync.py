"""rsync --inplace --copy-devices with zstd, to an rsync daemon.

--ignore-times: a disk has no time of its own that would tell that nothing changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.network import TARGET, End
from bench.peers.peer import EVERY, PORT, PeerKind, Stage
from bench.plan import Case

_CONFIG: Final = """\
use chroot = no
uid = root
gid = root
[disk]
path = {folder}
read only = no
"""
_OPTIONS: Final = (
    "--inplace",
    "--copy-devices",
    "--no-whole-file",
    "--ignore-times",
    "--compress",
    "--compress-choice=zstd",
    "--compress-level=1",
)


@dataclass(frozen=True)
class Rsync:
    """rsync at the source, its daemon at the target."""

    stage: Stage

    def run(self, case: Case) -> None:
        """See `Peer.run`."""
        assert case is not Case.EXPORT
        url = f"rsync://{TARGET}:{PORT}/disk/{self.stage.target.name}"
        processes = self.stage.processes
        processes.run(End.SOURCE, ["rsync", *_OPTIONS, str(self.stage.image.path), url])
        processes.run(End.TARGET, self.stage.sync_command())

    def result(self) -> Path:
        """See `Peer.result`."""
        return self.stage.target


@contextmanager
def _open(stage: Stage) -> Iterator[Rsync]:
    config = stage.folder / "rsyncd.conf"
    config.write_text(_CONFIG.format(folder=stage.folder))
    where = [f"--address={TARGET}", f"--port={PORT}"]
    command = ["rsync", "--daemon", "--no-detach", f"--config={config}", *where]
    stage.processes.await_listener(stage.processes.start(End.TARGET, command), PORT)
    yield Rsync(stage)


_CASES = frozenset({Case.FULL, Case.UNCHANGED, Case.CHANGED})
RSYNC = PeerKind("rsync", ("rsync",), _CASES, EVERY, skips_free=False, open=_open)
