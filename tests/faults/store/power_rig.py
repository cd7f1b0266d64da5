"""The machine whose power is cut: forgetful disk → nbdfuse → loop devices → ext4, all real.

One disk carries two filesystems, so that store and database can share one or have one each. With one each, no
fsync of the database commits the journal of the store's filesystem: what the store does not make durable
itself stays visible as such.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from app.wire.chunks import MIB
from tests.faults.store.store_services import Places
from tests.services.processes import required_binary

STORE_BYTES = 48 * MIB
DATABASE_BYTES = 24 * MIB
_EXT4 = ("-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0")
_PATIENCE_SECONDS = 10.0


class PowerRig:
    """Use as a context manager: whatever happens, all is unmounted, detached and ended at its end."""

    def __init__(self, folder: Path) -> None:
        """Keep sockets and mount points in `folder`."""
        self._folder = folder
        self.control = folder / "control"
        self._nbd = folder / "nbd"
        self._server: subprocess.Popen[bytes] | None = None
        self._machine = ExitStack()

    def __enter__(self) -> Self:
        for name in ("fuse", "store", "database"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        module = "tests.faults.store.forgetful_disk"
        size = str(STORE_BYTES + DATABASE_BYTES)
        command = [sys.executable, "-m", module, size, str(self._nbd), str(self.control)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        if self._server.stdout.readline() != b"ready\n":
            raise AssertionError(f"the forgetful disk did not start: {command}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._server is not None:
            self._server.kill()
            self._server.communicate()

    def order(self, line: str) -> None:
        """Tell the disk something; see `forgetful_disk`."""
        order(self.control, line)

    def format(self) -> None:
        """Make both filesystems, power on, and leave the machine running."""
        self._attach(formats=True)

    def start(self) -> None:
        """Power on: attach the disk and mount, which replays the journals."""
        self.order("power-on")
        self._attach(formats=False)

    def stop(self) -> None:
        """Unmount and detach, whatever of it is there."""
        self._machine.close()

    def together(self) -> Places:
        """Store and database on one filesystem."""
        base = self._folder / "store" / "together"
        return Places(base / "store", base / "database" / "go2cloud.db")

    def apart(self) -> Places:
        """The database on a filesystem of its own."""
        return Places(self._folder / "store" / "apart", self._folder / "database" / "go2cloud.db")

    def _attach(self, *, formats: bool) -> None:
        with ExitStack() as stack:
            image = self._expose(stack)
            for name, offset, size in (
                ("store", 0, STORE_BYTES),
                ("database", STORE_BYTES, DATABASE_BYTES),
            ):
                device = _loop_device(stack, image, offset, size)
                if formats:
                    _run(required_binary("mkfs.ext4", "e2fsprogs"), *_EXT4, device)
                target = str(self._folder / name)
                _run("mount", "-t", "ext4", device, target)
                stack.callback(_until_done, "umount", target)
            self._machine = stack.pop_all()

    def _expose(self, stack: ExitStack) -> Path:
        """The NBD export as a file."""
        target = self._folder / "fuse"
        nbdfuse = required_binary("nbdfuse", "libnbd-bin")
        process = subprocess.Popen([nbdfuse, str(target), "--unix", str(self._nbd)])
        stack.callback(_reap, process)
        stack.callback(_until_done, required_binary("fusermount3", "fuse3"), "-u", str(target))
        image, deadline = target / "nbd", time.monotonic() + _PATIENCE_SECONDS
        while not image.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("nbdfuse did not show the disk")
            time.sleep(0.002)
        return image


def order(control: Path, line: str) -> None:
    """Tell the disk something and wait until it is done; processes of the machine do it too."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(control))
        client.sendall(f"{line}\n".encode())
        answer = client.recv(16)
    if answer != b"ok\n":
        raise AssertionError(f"the forgetful disk did not answer to {line!r}")


def _loop_device(stack: ExitStack, image: Path, offset: int, size: int) -> str:
    losetup = required_binary("losetup", "mount")
    window = ("--offset", str(offset), "--sizelimit", str(size))
    device = _run(losetup, "--show", "--find", *window, str(image)).strip()
    stack.callback(_until_done, losetup, "--detach", device)
    return device


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def _until_done(*command: str) -> None:
    """Repeat what fails only while something is still busy."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            _run(*command)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _reap(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_SECONDS)
    process.kill()
    process.wait()
