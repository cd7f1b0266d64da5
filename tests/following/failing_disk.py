"""A block device some of whose sectors cannot be read: an NBD server in this process → nbdfuse → losetup."""

import contextlib
import errno
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.deployment import until
from tests.faults.store.forgetful_disk import Connection, Disk
from tests.following.live_host import run
from tests.services.processes import required_binary


class FailingDisk(Disk):
    """Reading any of the bytes of `bad` fails; `refused` counts how often."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.bad = range(0)
        self.refused = 0

    def read(self, starts: int, at: int, length: int) -> bytes:
        """What the machine sees. Raises OSError."""
        if at < self.bad.stop and at + length > self.bad.start:
            self.refused += 1
            raise OSError(errno.EIO, "a bad sector")
        return super().read(starts, at, length)

    def content(self) -> bytes:
        """All that it holds."""
        return super().read(self.starts, 0, self.size)


@contextlib.contextmanager
def attached_disk(disk: FailingDisk, folder: Path) -> Iterator[Path]:
    """Its loop device."""
    folder.mkdir()
    path, point = folder / "nbd.socket", folder / "fuse"
    point.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_serve, args=(disk, listener), daemon=True).start()
        with _fuse(path, point) as image:
            device = Path(run("losetup", "--show", "--find", image).strip())
            try:
                yield device
            finally:
                run("losetup", "--detach", device)


def _serve(disk: FailingDisk, listener: socket.socket) -> None:
    """Serve clients until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=Connection(disk, client).serve, daemon=True).start()


@contextlib.contextmanager
def _fuse(path: Path, point: Path) -> Iterator[Path]:
    nbdfuse = required_binary("nbdfuse", "libnbd-bin")
    with subprocess.Popen([nbdfuse, str(point), "--unix", str(path)]) as process:
        try:
            until((point / "nbd").exists, 60, "nbdfuse shows the disk")
            yield point / "nbd"
        finally:
            fusermount = required_binary("fusermount3", "fuse3")
            until(lambda: subprocess.run([fusermount, "-u", point]).returncode == 0, 60, "nbdfuse ends")
            process.wait(60)
