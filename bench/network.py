"""Two network namespaces of the bench's own, joined by a veth pair whose counters tell the bytes on the wire.

Names end with the bench's process id, so that what a killed run left behind is known and removed by the next.
"""

import ctypes
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from bench.plan import Link

PREFIX: Final = "g2cbench"
_WIRE: Final = "wire"
_NAMES: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000


class End(StrEnum):
    """One of the two hosts."""

    SOURCE = "s"
    TARGET = "t"


ADDRESSES: Final = {End.SOURCE: "10.99.99.1", End.TARGET: "10.99.99.2"}
TARGET: Final = ADDRESSES[End.TARGET]


@dataclass(frozen=True)
class Network:
    """The two namespaces, by end."""

    names: dict[End, str]

    def inside(self, end: End, command: list[str]) -> list[str]:
        """A command that runs at this end. It keeps its view of /sys, where a tracker looks for tracefs."""
        return ["nsenter", f"--net={_NAMES / self.names[end]}", *command]

    @contextmanager
    def entered(self, end: End) -> Iterator[None]:
        """The calling thread, and threads that it starts, open their sockets at this end meanwhile."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            inside = os.open(_NAMES / self.names[end], os.O_RDONLY)
            try:
                _enter(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def cut(self) -> None:
        """Take the line down."""
        _ip("-n", self.names[End.SOURCE], "link", "set", _WIRE, "down")

    def restore(self) -> None:
        """Bring it up again."""
        _ip("-n", self.names[End.SOURCE], "link", "set", _WIRE, "up")

    def wire_bytes(self) -> int:
        """Bytes that crossed the wire so far, both directions, headers included."""
        done = _ip("-n", self.names[End.SOURCE], "-s", "-j", "link", "show", _WIRE)
        (link,) = json.loads(done)
        counted = link["stats64"]
        return int(counted["rx"]["bytes"]) + int(counted["tx"]["bytes"])


@contextmanager
def network(link: Link) -> Iterator[Network]:
    """Make the namespaces, shape the line, and take all of it away at the end."""
    _remove_abandoned()
    made = Network({end: f"{PREFIX}-{os.getpid()}-{end}" for end in End})
    try:
        for name in made.names.values():
            _ip("netns", "add", name)
        source, target = made.names[End.SOURCE], made.names[End.TARGET]
        _ip("-n", source, "link", "add", _WIRE, "type", "veth", "peer", "name", _WIRE, "netns", target)
        for end, name in made.names.items():
            _bring_up(name, ADDRESSES[end], link)
        yield made
    finally:
        for name in made.names.values():
            _remove(name)


def _bring_up(name: str, address: str, link: Link) -> None:
    _ip("-n", name, "address", "add", f"{address}/30", "dev", _WIRE)
    for device in ("lo", _WIRE):
        _ip("-n", name, "link", "set", device, "up")
    if link is Link.GBIT:
        shape = ["root", "tbf", "rate", "1gbit", "burst", "256kb", "latency", "20ms"]
        subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", _WIRE, *shape], check=True)


def _remove_abandoned() -> None:
    for path in _NAMES.glob(f"{PREFIX}-*"):
        found = re.fullmatch(rf"{PREFIX}-(\d+)-[st]", path.name)
        if found and not Path(f"/proc/{found.group(1)}").exists():
            _remove(path.name)


def _remove(name: str) -> None:
    if (_NAMES / name).exists():
        _ip("netns", "delete", name)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace cannot be entered: {os.strerror(number)}")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
