"""A small client of QEMU's machine protocol: one command after the other on a unix socket.

QEMU serves one connection at a time, so that a connection lives for a few commands and never longer. A line
of JSON is a message: the greeting, an answer (`return` or `error`), or an event, which is passed over. After
docs/interop/qmp-spec.txt of QEMU 7.2.
"""

import array
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.kit.errors import Json
from app.launch.boot.screen import Picture
from app.launch.errors import MachineSilent

SECONDS: Final = 30
MOST_LINE: Final = 1024 * 1024


class Qmp:
    """A connection, ready for commands. Use as a context manager. Every method raises MachineSilent."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        """Connect to the socket at `path` and shake hands, all within `seconds`."""
        self._path = path
        self._until = time.monotonic() + seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""
        try:
            self._connect()
            self._line("QMP")
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def execute(
        self, command: str, arguments: Mapping[str, Json] | None = None, descriptor: int | None = None
    ) -> Json:
        """Run a command and return its answer; `descriptor` goes with it."""
        message = json.dumps({"execute": command, "arguments": dict(arguments or {})}).encode() + b"\n"
        ancillary = []
        if descriptor is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            self._socket.settimeout(self._left())
            self._socket.sendmsg([message], ancillary)
        except OSError as error:
            raise self._silent(command, error) from error
        answer = self._line("return", "error")
        if "error" in answer:
            raise MachineSilent(f"{command} at {self._path}: {answer['error']}")
        return answer["return"]

    def status(self) -> str:
        """What the machine is doing: `running`, `paused`, `internal-error`, …"""
        answer = self.execute("query-status")
        assert isinstance(answer, Mapping), "query-status answers with an object"
        return str(answer["status"])

    def screen(self, scratch: Path) -> Picture:
        """What the screen shows; `scratch` is a file to write to that we alone need to reach.

        Raises ValueError where QEMU's picture is none.
        """
        descriptor = os.open(
            scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            added = self.execute("add-fd", descriptor=descriptor)
            assert isinstance(added, Mapping), "add-fd answers with an object"
            number = int(str(added["fdset-id"]))
            self.execute("screendump", {"filename": f"/dev/fdset/{number}"})
            self.execute("remove-fd", {"fdset-id": number})
            return Picture.of_ppm(scratch.read_bytes())
        finally:
            os.close(descriptor)
            scratch.unlink(missing_ok=True)

    def connections(self) -> str:
        """The table of the user network's connections, as text for people."""
        return str(self.execute("human-monitor-command", {"command-line": "info usernet"}))

    def power_down(self) -> None:
        """Press the power button."""
        self.execute("system_powerdown")

    def quit(self) -> None:
        """End the machine at once."""
        self.execute("quit")

    def _connect(self) -> None:
        """By the folder's descriptor: the path of a unix socket may have 107 bytes only."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.settimeout(self._left())
            self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        except OSError as error:
            raise self._silent("connecting", error) from error
        finally:
            os.close(folder)

    def _line(self, *wanted: str) -> dict[str, Json]:
        """The next message that has one of these members."""
        while True:
            while b"\n" not in self._received:
                self._receive()
            line, _, self._received = self._received.partition(b"\n")
            message: dict[str, Json] = json.loads(line)
            if any(name in message for name in wanted):
                return message

    def _receive(self) -> None:
        try:
            self._socket.settimeout(self._left())
            piece = self._socket.recv(65536)
        except OSError as error:
            raise self._silent("waiting for an answer", error) from error
        if not piece or len(self._received) > MOST_LINE:
            raise MachineSilent(f"the monitor at {self._path} broke off")
        self._received += piece

    def _left(self) -> float:
        return max(0.01, self._until - time.monotonic())

    def _silent(self, doing: str, error: OSError) -> MachineSilent:
        return MachineSilent(
            f"{doing} at {self._path}: {error.strerror or error}",
            remedy="the machine may have ended: look at qemu.log",
        )
