"""What is mounted anywhere on the host: the mount tables of every namespace that a process lives in.

A mount in another namespace is as real as one of our own. Namespaces that no process lives in, and those
that this user may not look into, are covered by the exclusive open of block devices (see `in_use`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ESCAPES: Final = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True)
class MountLine:
    """One line of a mountinfo file; `number` is major:minor of the filesystem's device."""

    number: str
    target: str
    kind: str
    source: str
    options: str


@dataclass(frozen=True)
class MountTables:
    """`complete` is False where a process's mount table was not readable."""

    numbers: frozenset[str]
    sources: frozenset[str]
    complete: bool


def parse_mountinfo(text: str) -> list[MountLine]:
    """The mounts of one mountinfo file, in its order."""
    lines = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if len(left) >= 6 and len(right) >= 2:
            target, source = _plain(left[4]), _plain(right[1])
            lines.append(MountLine(left[2], target, right[0], source, left[5]))
    return lines


def _plain(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def read_all_mounts(proc: Path = Path("/proc")) -> MountTables:
    """The mounts of all mount namespaces, each table read once."""
    seen, complete = set[str](), True
    found: list[MountLine] = []
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            found += _unseen_table(process, seen)
        except PermissionError:
            complete = False
        except OSError:
            continue  # the process ended while it was looked at: it holds no namespace any more
    return MountTables(
        frozenset(line.number for line in found), frozenset(line.source for line in found), complete
    )


def _unseen_table(process: Path, seen: set[str]) -> list[MountLine]:
    try:
        namespace = str((process / "ns/mnt").readlink())
    except PermissionError:
        namespace = ""
    if namespace in seen:
        return []
    lines = parse_mountinfo((process / "mountinfo").read_text(errors="replace"))
    if namespace:
        seen.add(namespace)
    return lines


def own_mounts() -> list[MountLine]:
    """The mounts that this process sees."""
    return parse_mountinfo(Path(f"/proc/{os.getpid()}/mountinfo").read_text(errors="replace"))
