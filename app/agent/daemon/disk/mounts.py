"""What is mounted anywhere on the host: the mount tables of every namespace that a process lives in.

A mount in another namespace is as real as one of our own. Namespaces that no process lives in, and those
that this user may not look into, are covered by the exclusive open of block devices (see `in_use`).
"""

import errno
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

_ESCAPES: Final = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True)
class MountLine:
    """One line of a mountinfo file; `number` is major:minor of the filesystem's device.

    `options` are those of this mount; `is_read_only` is about the filesystem, which other mounts share.
    `mount_id` is unique on the host at one time.
    """

    number: str
    target: str
    kind: str
    source: str
    options: str
    mount_id: int = 0
    is_read_only: bool = False


@dataclass(frozen=True)
class MountTable:
    """What a process sees mounted; `root` leads to its root directory from here."""

    root: Path
    lines: tuple[MountLine, ...]

    def reach(self, path: str) -> Path:
        """The path by which this process reaches what the table's process calls `path`."""
        return self.root / path.lstrip("/")


@dataclass(frozen=True)
class MountTables:
    """`complete` is False where a process's mount table was not readable."""

    tables: tuple[MountTable, ...] = ()
    complete: bool = True

    @cached_property
    def numbers(self) -> frozenset[str]:
        """major:minor of everything mounted."""
        return frozenset(line.number for table in self.tables for line in table.lines)

    @cached_property
    def sources(self) -> frozenset[str]:
        """The sources as they are written in the tables."""
        return frozenset(line.source for table in self.tables for line in table.lines)


def parse_mountinfo(text: str) -> list[MountLine]:
    """The mounts of one mountinfo file, in its order."""
    lines = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if len(left) >= 6 and len(right) >= 2:
            read_only = len(right) > 2 and right[2].split(",")[0] == "ro"
            target, source = _plain(left[4]), _plain(right[1])
            lines.append(MountLine(left[2], target, right[0], source, left[5], int(left[0]), read_only))
    return lines


def _plain(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def read_all_mounts(proc: Path = Path("/proc")) -> MountTables:
    """The mounts of all mount namespaces, each table read once; the one that this process sees comes first.

    Processes with another root directory see other parts of their namespace: theirs is a table of its own.
    """
    seen, complete = set[tuple[str, str]](), True
    found: list[MountTable] = []
    for process in sorted(proc.iterdir(), key=lambda entry: entry.name != str(os.getpid())):
        if not process.name.isdigit():
            continue
        try:
            found += _unseen_table(process, seen)
        except PermissionError:
            complete = False
        except OSError:
            continue  # the process ended while it was looked at: it holds no namespace any more
    return MountTables(tuple(found), complete)


def _unseen_table(process: Path, seen: set[tuple[str, str]]) -> list[MountTable]:
    try:
        view = (str((process / "ns/mnt").readlink()), str((process / "root").readlink()))
    except PermissionError:
        view = None
    if view in seen:
        return []
    lines = parse_mountinfo((process / "mountinfo").read_text(errors="replace"))
    if view:
        seen.add(view)
    root = Path("/") if process.name == str(os.getpid()) else process / "root"
    return [MountTable(root, tuple(lines))]


def own_mounts() -> list[MountLine]:
    """The mounts that this process sees."""
    return parse_mountinfo(Path(f"/proc/{os.getpid()}/mountinfo").read_text(errors="replace"))


def open_mount(path: Path, mount_id: int) -> int:
    """Open what is mounted at `path`, a directory or a file; the descriptor is the caller's to close.

    Raises OSError; ENXIO where another mount than `mount_id` covers it. As long as it is open it cannot be
    unmounted.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise OSError(errno.ENXIO, "it is neither a directory nor a file", str(path))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if mount_of(fd) != mount_id:
        os.close(fd)
        raise OSError(errno.ENXIO, "another mount covers it", str(path))
    return fd


def mount_of(fd: int | str, process: str = "self") -> int:
    """The id of the mount on which a file lies that this process, or the one with this id, has open.

    Raises OSError.
    """
    for line in Path(f"/proc/{process}/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return int(value)
    raise OSError(errno.ENOSYS, "the kernel does not tell the mount of an open file")
