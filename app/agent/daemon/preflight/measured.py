"""How quickly a disk gives its bytes: runs at places all over it, and single blocks, within two seconds."""

import mmap
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.disk.reader import ALIGNMENT, DiskReader
from app.wire.chunks import MIB

PLACES: Final = 16
RUN_BYTES: Final = 16 * MIB
"""Of a run at one place: 256 MiB of a disk at most."""
PIECE_BYTES: Final = MIB
RUN_SECONDS: Final = 1.4
BLOCKS: Final = 64
BLOCK_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Speed:
    """`rate` in bytes a second of sequential reading, `latency_us` the median of single blocks; 0: nothing
    was there to be read."""

    rate: int
    latency_us: int


def measure(reader: DiskReader, seed: int = 1) -> Speed:
    """Read samples. Raises OSError for a read error, DiskError for a disk that vanished."""
    rng = random.Random(seed)  # noqa: S311 - places on a disk, no secret
    with mmap.mmap(-1, PIECE_BYTES) as buffer, memoryview(buffer) as view:
        return Speed(_sequential(reader, view, rng), _latency(reader, view[:ALIGNMENT], rng))


def _sequential(reader: DiskReader, view: memoryview, rng: random.Random) -> int:
    taken = 0.0
    count = 0
    for place in _runs(reader, rng):
        for offset in range(place, min(place + RUN_BYTES, reader.size), PIECE_BYTES):
            began = time.monotonic()
            count += reader.read_into(offset, view)
            taken += time.monotonic() - began
            if taken > RUN_SECONDS:
                return round(count / taken)
    return round(count / taken) if taken else 0


def _runs(reader: DiskReader, rng: random.Random) -> Iterator[int]:
    """Where runs begin, in no order, so that a slow disk is not judged by its start alone. Holes are left
    out: they would be read at the speed of memory."""
    stride = max(RUN_BYTES, reader.size // PLACES // ALIGNMENT * ALIGNMENT)
    for offset in rng.sample(range(0, reader.size, stride), len(range(0, reader.size, stride))):
        data = reader.next_data(offset) // ALIGNMENT * ALIGNMENT
        if data < min(offset + stride, reader.size):
            yield data


def _latency(reader: DiskReader, view: memoryview, rng: random.Random) -> int:
    times: list[float] = []
    for _ in range(BLOCKS):
        offset = reader.next_data(rng.randrange(0, reader.size, ALIGNMENT)) // ALIGNMENT * ALIGNMENT
        if offset >= reader.size:
            continue
        began = time.monotonic()
        reader.read_into(offset, view)
        times.append(time.monotonic() - began)
        if sum(times) > BLOCK_SECONDS:
            break
    return round(statistics.median(times) * 1e6) if times else 0
