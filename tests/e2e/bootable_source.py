"""A source that boots: the tiny Linux disk on a loop device, its root mounted, a program that writes to it.

The owner's hook stops and starts that program, as it would a database.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.cli.demo.tiny_disk import make_disk
from tests.services.processes import required_binary

WRITER = """\
import os, sys, time
page, told, beats = sys.argv[1:]
beats = os.open(beats, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
last, word = time.monotonic(), "started"
file = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
tell = os.open(told, os.O_RDWR | os.O_CREAT, 0o600)
number = int.from_bytes(os.pread(tell, 8, 0), "little")
while True:
    number += 1
    os.write(file, b"%d\\n" % number)
    os.fsync(file)
    os.pwrite(tell, number.to_bytes(8, "little"), 0)
    now = time.monotonic()
    if word == "started" or now - last > 0.25:
        os.write(beats, b"%s %f %f\\n" % (word.encode(), last, now))
    last, word = now, "paused"
    time.sleep(0.01)
"""
HOOK = """\
#!/bin/sh
case "$1" in
  stop-services)
    [ -e {pid} ] && kill -9 "$(cat {pid})" 2>/dev/null
    while [ -e {pid} ] && kill -0 "$(cat {pid})" 2>/dev/null; do sleep 0.05; done
    rm -f {pid}; sync ;;
  start-services)
    [ -e {pid} ] && kill -0 "$(cat {pid})" 2>/dev/null && exit 0
    setsid {python} {writer} {page} {told} {beats} </dev/null >/dev/null 2>&1 &
    echo $! > {pid} ;;
esac
exit 0
"""


@dataclass(frozen=True)
class Beat:
    """The program's own times, in seconds since boot: its first write, or one that came late."""

    is_first: bool
    since: float
    until: float

    @property
    def seconds(self) -> float:
        """For how long nothing could be written."""
        return self.until - self.since


@dataclass(frozen=True)
class BootableSource:
    """The disk, and where its owner's program and hooks are."""

    device: Path
    folder: Path

    @property
    def hooks(self) -> Path:
        """The directory of the hooks for a cutover."""
        return self.folder / "cutover.d"

    def start(self) -> None:
        """Start the program."""
        _run(str(self.hooks / "services"), "start-services")

    def stop(self) -> None:
        """End the program."""
        _run(str(self.hooks / "services"), "stop-services")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The program runs, and not at the end."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def is_active(self) -> bool:
        """Whether the program runs."""
        try:
            state = Path(f"/proc/{int((self.folder / 'pid').read_text())}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return state.rpartition(")")[2].split()[0] not in "ZX"

    def told(self) -> int:
        """The last number that is on stable storage; 0 before the first."""
        path = self.folder / "told"
        return int.from_bytes(path.read_bytes(), "little") if path.exists() else 0

    def beats(self) -> list[Beat]:
        """The program's starts and pauses, in their order; a pause that lasts is not among them yet."""
        lines = [line.split() for line in (self.folder / "beats").read_text().splitlines()]
        return [Beat(word == "started", float(since), float(until)) for word, since, until in lines]


@contextmanager
def bootable_source(folder: Path) -> Iterator[BootableSource]:
    """The source, whose program runs; at the end nothing of it is left."""
    with attached(make_disk(folder / "disk.img")) as device, _mounted(f"{device}p3", folder / "root") as root:
        source = with_hook(BootableSource(device, folder), root / "www/ledger.txt")
        with source.at_work():
            yield source


@contextmanager
def attached(disk: Path) -> Iterator[Path]:
    """The file as a loop device with its partitions; at the end both are gone."""
    device = _run(required_binary("losetup", "mount"), "--show", "-f", str(disk)).strip()
    try:
        if _is_partitioned(disk):
            _run(required_binary("partx", "util-linux"), "-u", device)
        yield Path(device)
    finally:
        subprocess.run(["partx", "-d", device], check=False, capture_output=True)
        _run("losetup", "-d", device)
        disk.unlink()


def _is_partitioned(disk: Path) -> bool:
    """Whether it has an MBR, be it GPT's protective one."""
    with disk.open("rb") as file:
        return file.read(512)[510:] == b"\x55\xaa"


def with_hook(source: BootableSource, page: Path, python: str = sys.executable) -> BootableSource:
    """The source with its program, which `python` runs and which writes to `page`, and with its hook."""
    writer, hook = source.folder / "writer.py", source.hooks / "services"
    writer.write_text(WRITER)
    source.hooks.mkdir()
    names = {name: source.folder / name for name in ("pid", "told", "beats")}
    hook.write_text(HOOK.format(python=python, writer=writer, page=page, **names))
    hook.chmod(0o755)
    return source


@contextmanager
def _mounted(device: str, at: Path) -> Iterator[Path]:
    at.mkdir()
    _run("mount", device, str(at))
    try:
        yield at
    finally:
        _unmount(at)


def _unmount(at: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(["umount", str(at)], check=False, capture_output=True).returncode:
        assert time.monotonic() < deadline, f"{at} is busy"
        time.sleep(0.2)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
