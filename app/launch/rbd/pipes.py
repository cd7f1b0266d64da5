"""The two ends of diffs: a volume that is written through `rbd import-diff`, and the reading of one.

Ceph makes the snapshot when the whole diff was taken: one that is cut off anywhere leaves none. A diff is
given as /dev/stdin: of `-` rbd writes one record after the other, of any other file several at a time.
"""

import fcntl
import io
import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from app.launch.rbd.command import RbdCommand
from app.launch.rbd.diff import END, Extent, data_header, header, read_diff, zeros
from app.wire.buffers import Buffer

STALL_SECONDS: Final = 300
"""Without a byte; an OSD that is down for a moment delays all writes."""
_END_SECONDS: Final = 30
_PIPE_BYTES: Final = 1 << 20
_MOST_DATA: Final = "4M"
"""Of zeros in a row before they are left out: what is written comes back whole in the diff that is read."""


class ImportDiff:
    """An image as `app.store.volumefile.VolumeInPlace`: what is written goes into one diff."""

    def __init__(self, command: RbdCommand, image: str, to: str, since: str | None = None) -> None:
        """A diff for `image` that ends with its snapshot `to`, from its snapshot `since` or from zeros."""
        self.path = Path(f"{command.settings.spec(image)}@{to}")
        self._command = command
        self._image = image
        self._to = to
        self._since = since
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said = io.FileIO(os.memfd_create("rbd"), "r+")

    def renew(self, size: int) -> None:
        """See `VolumeInPlace.renew`. The image was emptied before."""
        self._start(size)

    def resize(self, before: int, size: int) -> None:  # noqa: ARG002  (the interface)
        """See `VolumeInPlace.resize`. Ceph gives zeros for what an image grows by."""
        self._start(size)

    def _start(self, size: int) -> None:
        arguments = ("--no-progress", "--sparse-size", _MOST_DATA, "/dev/stdin")
        argv = self._command.argv("import-diff", *arguments, self._command.settings.spec(self._image))
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said, bufsize=0
        )
        assert self._process.stdin is not None
        fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._process.stdin.fileno(), False)
        self._send([header(size, self._to, self._since)])

    def write(self, at: int, parts: Sequence[Buffer]) -> None:
        """See `VolumeOutput.write`. Raises what rbd ended with."""
        views = [memoryview(part).cast("B") for part in parts]
        length = sum(view.nbytes for view in views)
        if length:
            self._send([data_header(at, length), *views])

    def zero(self, at: int, length: int) -> None:
        """See `VolumeOutput.zero`."""
        if self._since is not None and length:
            self._send([zeros(at, length)])

    def _send(self, parts: Sequence[Buffer]) -> None:
        process, pipe = self._started()
        with self._lock:
            for part in parts:
                view = memoryview(part).cast("B")
                while view.nbytes:
                    view = view[self._sent(process, pipe.fileno(), view) :]

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        process = self._process
        assert process is not None, "it was renewed or resized"
        assert process.stdin is not None
        return process, process.stdin

    def _sent(self, process: subprocess.Popen[bytes], descriptor: int, view: memoryview) -> int:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        if not waiting.poll(STALL_SECONDS * 1000):
            process.kill()
            raise self._command.silent("import-diff", STALL_SECONDS)
        try:
            return os.write(descriptor, view)
        except BlockingIOError:
            return 0
        except BrokenPipeError as error:
            raise self._failed(process.wait()) from error

    def flush(self) -> None:
        """End the diff; the snapshot is there when this returns. Raises what rbd ended with."""
        self._send([END])
        process, pipe = self._started()
        pipe.close()
        try:
            code = process.wait(STALL_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise self._command.silent("import-diff", STALL_SECONDS) from error
        if code:
            raise self._failed(code)

    def publish(self) -> None:
        """Nothing to do: the bytes are where they belong."""

    def close(self) -> None:
        """Let go; a diff without its end comes to nothing. Harmless a second time."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        self._said.close()

    def _failed(self, code: int) -> Exception:
        return self._command.failed("import-diff", code, _words(self._said))


@contextmanager
def exported(
    command: RbdCommand, image: str, snapshot: str, size: int, since: str | None = None
) -> Iterator[Iterator[Extent]]:
    """What a snapshot of `size` bytes holds, or how it differs from the snapshot `since`, in order.

    Raises CephUnreachable, ToolFailed where the stream is not whole, what rbd ended with.
    """
    begin = ("--from-snap", since) if since is not None else ()
    spec = f"{command.settings.spec(image)}@{snapshot}"
    argv = command.argv("export-diff", "--no-progress", *begin, spec, "-")
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, bufsize=0
        )
        try:
            assert process.stdout is not None
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            yield read_diff(_Patient(command, process, said), size)
            if code := process.wait(STALL_SECONDS):
                raise command.failed("export-diff", code, _words(said))
        finally:
            process.kill()
            _end(process)


class _Patient:
    """Reads from rbd, and waits for no byte longer than STALL_SECONDS."""

    def __init__(self, command: RbdCommand, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        assert process.stdout is not None
        self._command = command
        self._process = process
        self._said = said
        self._descriptor = process.stdout.fileno()
        self._waiting = select.poll()
        self._waiting.register(self._descriptor, select.POLLIN)

    def read(self, count: int, /) -> bytes:
        """See `Source.read`. Raises CephUnreachable, what rbd ended with."""
        parts, missing = [], count
        while missing:
            if not self._waiting.poll(STALL_SECONDS * 1000):
                raise self._command.silent("export-diff", STALL_SECONDS)
            part = os.read(self._descriptor, missing)
            if not part:
                self._require_success()
                break
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _require_success(self) -> None:
        if code := self._process.wait(STALL_SECONDS):
            raise self._command.failed("export-diff", code, _words(self._said))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close our ends of the pipes; rbd ends by that, or is killed."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _words(said: IO[bytes] | io.FileIO) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")
