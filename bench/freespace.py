"""Free blocks of an ext4 image as dumpe2fs tells them: an oracle that shares no code with the product."""

import re
import subprocess
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ranges:
    """Sorted, disjoint byte ranges [start, end)."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Bytes in all ranges."""
        return sum(self.ends) - sum(self.starts)

    def covers(self, start: int, end: int) -> bool:
        """Whether one range holds all of [start, end)."""
        at = bisect_right(self.starts, start) - 1
        return at >= 0 and end <= self.ends[at]

    def meets(self, start: int, end: int) -> bool:
        """Whether a range has a byte of [start, end)."""
        at = bisect_left(self.starts, end) - 1
        return at >= 0 and self.ends[at] > start


def free_ranges(image: Path) -> Ranges:
    """The free ranges of the ext4 filesystem in `image`. Raises CalledProcessError, ValueError."""
    return _ranges(image, r"^  Free blocks: (.+)$")


def metadata_ranges(image: Path) -> Ranges:
    """Superblocks, descriptors, bitmaps and inode tables: a change there is damage. Raises likewise."""
    return _ranges(image, r"(?:superblock|descriptors|GDT blocks|bitmap|table) at ([\d-]+)")


def _ranges(image: Path, pattern: str) -> Ranges:
    done = subprocess.run(["dumpe2fs", str(image)], capture_output=True, text=True, check=True)
    found = re.search(r"^Block size:\s+(\d+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise ValueError(f"dumpe2fs does not tell the block size of {image}")
    unit = int(found.group(1))
    lists = re.findall(pattern, done.stdout, re.MULTILINE)
    pairs = [pair for item in lists for pair in _pairs(item)]
    return joined([(first * unit, (last + 1) * unit) for first, last in pairs])


def _pairs(line: str) -> list[tuple[int, int]]:
    parts = [part.strip().partition("-") for part in line.split(",") if part.strip()]
    return [(int(first), int(last or first)) for first, _, last in parts]


def joined(pairs: list[tuple[int, int]]) -> Ranges:
    """These ranges, sorted, those that touch or overlap as one."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(pairs):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return Ranges(tuple(starts), tuple(ends))
