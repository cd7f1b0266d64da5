"""Archives of the form newc (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MAGICS: Final = (b"070701", b"070702")
_HEADER: Final = 110
_NUMBERS: Final = re.compile(rb"[0-9A-Fa-f]{104}")
"""Strictly: Python reads a sign as well, and a negative size would lead back to members that were read."""
_TRAILER: Final = "TRAILER!!!"
FOLDER: Final = stat.S_IFDIR | 0o755
FILE: Final = stat.S_IFREG | 0o644


@dataclass(frozen=True)
class Member:
    """A file, folder or link: `mode` as stat(2) has it; a link's content is where it leads."""

    name: str
    mode: int
    content: bytes = b""


class CpioDamaged(ValueError):
    """The bytes are no such archive."""


def read(data: bytes, at: int) -> Iterator[tuple[Member, int]]:
    """The members from `at` on, each with where the next one begins; the trailer comes last.

    Raises CpioDamaged.
    """
    while True:
        header = data[at : at + _HEADER]
        if len(header) < _HEADER or header[:6] not in MAGICS:
            raise CpioDamaged(f"no archive member at byte {at}")
        if not _NUMBERS.fullmatch(header, 6):
            raise CpioDamaged(f"no archive member at byte {at}")
        fields = [int(header[6 + 8 * field : 14 + 8 * field], 16) for field in range(13)]
        mode, size, named = fields[1], fields[6], fields[11]
        begin = _aligned(at + _HEADER + named)
        if begin + size > len(data) or not named:
            raise CpioDamaged(f"the archive member at byte {at} is longer than the archive")
        name = data[at + _HEADER : at + _HEADER + named - 1].decode(errors="surrogateescape")
        at = _aligned(begin + size)
        yield Member(name, mode, data[begin : begin + size]), at
        if name == _TRAILER:
            return


def is_trailer(member: Member) -> bool:
    """Whether it is the archive's end."""
    return member.name == _TRAILER


def write(members: Iterable[Member]) -> bytes:
    """An archive of these, owned by root, with the folders they are in; the same for the same members."""
    found = {member.name: member for member in members}
    parents = {parent for name in found for parent in _parents(name)}
    found |= {parent: Member(parent, FOLDER) for parent in parents - set(found)}
    ordered = [found[name] for name in sorted(found)]
    pieces = [_member(number, member) for number, member in enumerate(ordered, 1)]
    return b"".join((*pieces, _member(0, Member(_TRAILER, 0))))


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _member(number: int, member: Member) -> bytes:
    name = member.name.encode(errors="surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    fields = (number, member.mode, 0, 0, links, 0, len(member.content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    head += bytes(_aligned(len(head)) - len(head))
    return head + member.content + bytes(_aligned(len(member.content)) - len(member.content))


def _aligned(at: int) -> int:
    return -(-at // 4) * 4
