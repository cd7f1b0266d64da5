"""Starting a service of the system for the tests, and stopping it."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

START_SECONDS = 180.0
STOP_SECONDS = 20.0


def required_binary(name: str, package: str) -> str:
    """The path of a program; fails the test that needs it, naming the Debian package, when it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}", pytrace=False)
    return found


def free_port() -> int:
    """A port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A process that listens, and whose output goes to a file."""

    def __init__(self, arguments: list[str], log: Path, is_ready: Callable[[], bool]) -> None:
        """Name the command; nothing runs yet."""
        self._arguments = arguments
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers; fails the test when it does not."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._arguments, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"{self._arguments[0]} did not start:\n{self._tail()}", pytrace=False)
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask the process to end, and wait for it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]
