"""The floor: what the stages of a replication cost alone, in one thread each, without any glue.

Read, zero test, hash, compress | loopback TCP | decompress, hash, write and fsync: the CPU seconds of these
on the same disk are what no pipeline of the same design can go below.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.agent.daemon.pipeline.effort import HARD_LEVEL
from app.wire.chunks import CHUNK_SIZE, chunk_id, is_zero
from app.wire.codec import Codec, decode, encode
from app.wire.memory import aligned
from bench.images import Image, make_cold
from bench.plan import MIB

_WINDOW = 64 * MIB
_COMPRESS = "compress"
_HARDER = "compress harder"


@dataclass(frozen=True)
class Floor:
    """CPU seconds of each stage, by its name; `harder` are those of compressing as over a slow link."""

    stages: dict[str, float]
    harder: float

    @property
    def total(self) -> float:
        """CPU seconds of all stages."""
        return sum(self.stages.values())

    @property
    def total_harder(self) -> float:
        """CPU seconds of all stages where the link is slow."""
        return self.total - self.stages[_COMPRESS] + self.harder


def measure_floor(image: Image, folder: Path) -> Floor:
    """Run the stages over the disk's used chunks, window by window."""
    make_cold(image.path)
    clock = _Clock({})
    output = os.open(folder / "floor.bin", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    memory = aligned(_WINDOW)
    memory[:] = bytes(_WINDOW)  # its first use, which may take 0.1 s, is no stage
    try:
        for window in _windows(image):
            _window(clock, image.path, window, memory, output)
        clock.time("write", lambda: os.fsync(output))
    finally:
        os.close(output)
        (folder / "floor.bin").unlink()
    harder = clock.spent.pop(_HARDER)
    return Floor(clock.spent, harder)


@dataclass(frozen=True)
class _Clock:
    spent: dict[str, float]

    def time(self, stage: str, work: Callable[[], object]) -> None:
        """Add the CPU time of all threads while `work` runs."""
        began = time.process_time()
        work()
        self.spent[stage] = self.spent.get(stage, 0.0) + time.process_time() - began


def _windows(image: Image) -> Iterator[list[int]]:
    """Offsets of the chunks that are not all free, some at a time."""
    used = [
        at
        for at in range(0, image.size, CHUNK_SIZE)
        if not image.free.covers(at, min(at + CHUNK_SIZE, image.size))
    ]
    many = _WINDOW // CHUNK_SIZE
    for first in range(0, len(used), many):
        yield used[first : first + many]


def _window(clock: _Clock, path: Path, window: list[int], memory: memoryview, output: int) -> None:
    pieces = [memory[at * CHUNK_SIZE : (at + 1) * CHUNK_SIZE] for at in range(len(window))]
    clock.time("read", lambda: _read(path, window, pieces))
    _stages(clock, pieces, output)


def _stages(clock: _Clock, pieces: list[memoryview], output: int) -> None:
    plain: list[memoryview] = []
    packed: list[tuple[Codec, bytes]] = []
    clock.time("zero test", lambda: plain.extend(piece for piece in pieces if not is_zero(piece)))
    clock.time("hash", lambda: [chunk_id(piece) for piece in plain])
    clock.time(_COMPRESS, lambda: packed.extend(_encode(piece) for piece in plain))
    clock.time(_HARDER, lambda: [encode(piece, HARD_LEVEL) for piece in plain])
    clock.time("network", lambda: _cross([data for _, data in packed]))
    opened: list[object] = []
    clock.time("decompress", lambda: opened.extend(decode(codec, data, CHUNK_SIZE) for codec, data in packed))
    clock.time("hash again", lambda: [chunk_id(piece) for piece in plain])
    clock.time("write", lambda: [os.write(output, data) for _, data in packed])


def _encode(piece: memoryview) -> tuple[Codec, bytes]:
    codec, data = encode(piece)
    return codec, bytes(data)


def _read(path: Path, window: list[int], pieces: list[memoryview]) -> None:
    """Neighbouring chunks by one read of up to 4 MiB, past the page cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        first = 0
        while first < len(window):
            last = first + 1
            while (
                last < len(window)
                and window[last] == window[last - 1] + CHUNK_SIZE
                and (last - first) * CHUNK_SIZE < 4 * MIB
            ):
                last += 1
            os.preadv(descriptor, list(pieces[first:last]), window[first])
            first = last
    finally:
        os.close(descriptor)


def _cross(parts: list[bytes]) -> None:
    """Send everything over a TCP connection of this host to itself."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            receiver = threading.Thread(target=_drain, args=(far,))
            receiver.start()
            for part in parts:
                near.sendall(part)
            near.shutdown(socket.SHUT_WR)
            receiver.join()


def _drain(far: socket.socket) -> None:
    buffer = bytearray(MIB)
    while far.recv_into(buffer):
        pass
