"""A disk that forgets at a power cut what was not flushed: an NBD server with two images in memory.

`live` is what the machine sees, `stable` what the medium holds. A write goes to `live` and waits in the
drive's cache; FLUSH, or FUA for that write alone, brings it to `stable`. A cut lets each 512-byte sector that
waits survive by chance (a drive writes its cache back in any order), forgets the rest, and freezes `stable`:
what the machine does from then on no longer counts. Power on makes `live` what `stable` is, and a connection
from before it is refused from then on: a machine that lost its power writes nothing into the next one.

The server speaks the fixed newstyle NBD handshake on one unix socket and lines of text on another, where a
machine's processes and the test ask for `cut SEED SHARE`, `power-on`, `keep` (remember the stable image),
`fresh` (return to it) and `exit`; each is answered `ok`. The server also ends when its standard input does:
it never outlives the process that started it.

    python -m tests.faults.store.forgetful_disk BYTES NBD_SOCKET CONTROL_SOCKET
"""

import errno
import os
import random
import socket
import struct
import sys
import threading
from enum import IntEnum
from pathlib import Path

SECTOR = 512

_HELLO = struct.pack("!8s8sH", b"NBDMAGIC", b"IHAVEOPT", 0b11)
_OPTION = struct.Struct("!8sII")
_ANSWER = struct.Struct("!QIII")
_ANSWER_MAGIC = 0x3E889045565A9
_REQUEST = struct.Struct("!IHHQQI")
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct("!IIQ")
_REPLY_MAGIC = 0x67446698
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_FUA = 1


class _Option(IntEnum):
    ABORT = 2
    INFO = 6
    GO = 7


class _Answer(IntEnum):
    ACK = 1
    INFO = 3
    UNSUPPORTED = (1 << 31) + 1


class _Command(IntEnum):
    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3


class Disk:
    """Both images and the writes between them; every method may be called from any thread."""

    def __init__(self, size: int) -> None:
        """A disk of zeros."""
        self.size = size
        self._live = bytearray(size)
        self._stable = bytearray(size)
        self._kept = bytes(size)
        self._waiting: list[tuple[int, bytes, bool]] = []
        self._powered = True
        self._guard = threading.Lock()
        self.starts = 0
        """How often the power came back."""

    def read(self, starts: int, at: int, length: int) -> bytes:
        """What the machine sees. Raises OSError where `starts` is not the present one, as all requests do."""
        with self._guard:
            self._require(starts)
            return bytes(self._live[at : at + length])

    def write(self, starts: int, at: int, data: bytes, *, durable: bool) -> None:
        """A write; `durable` is FUA."""
        with self._guard:
            self._require(starts)
            self._live[at : at + len(data)] = data
            self._waiting.append((at, data, durable))

    def flush(self, starts: int) -> None:
        """All that was written is on the medium, unless there is no power any more."""
        with self._guard:
            self._require(starts)
            if self._powered:
                for at, data, _ in self._waiting:
                    self._stable[at : at + len(data)] = data
            self._waiting.clear()

    def _require(self, starts: int) -> None:
        if starts != self.starts:
            raise OSError(errno.EIO, "this machine lost its power")

    def cut(self, seed: int, share: float) -> None:
        """The power fails: of the sectors that wait, about `share` survive. A second cut changes nothing."""
        with self._guard:
            if self._powered:
                self._keep_some(random.Random(seed), share)
            self._powered = False

    def _keep_some(self, chance: random.Random, share: float) -> None:
        for at, data, durable in self._waiting:
            for start in range(0, len(data), SECTOR):
                if durable or chance.random() < share:
                    self._stable[at + start : at + start + SECTOR] = data[start : start + SECTOR]

    def power_on(self) -> None:
        """The machine starts again and sees what the medium holds."""
        with self._guard:
            self._live[:] = self._stable
            self._waiting.clear()
            self._powered = True
            self.starts += 1

    def keep(self) -> None:
        """Remember the medium as it is."""
        with self._guard:
            self._kept = bytes(self._stable)

    def fresh(self) -> None:
        """The medium as it was when `keep` was asked for, powered on."""
        with self._guard:
            self._stable[:] = self._kept
        self.power_on()


class Connection:
    """One NBD client, served until it leaves."""

    def __init__(self, disk: Disk, client: socket.socket) -> None:
        """Serve `disk` to `client`."""
        self._disk = disk
        self._starts = disk.starts
        self._client = client
        self._stream = client.makefile("rb")

    def serve(self) -> None:
        """Negotiate, then answer requests one after the other."""
        self._client.sendall(_HELLO)
        self._stream.read(4)
        if self._negotiated():
            while self._answered():
                pass
        self._stream.close()
        self._client.close()

    def _negotiated(self) -> bool:
        """Whether the client chose the export; False when it left."""
        while len(head := self._stream.read(_OPTION.size)) == _OPTION.size:
            _, option, length = _OPTION.unpack(head)
            self._stream.read(length)
            if option in (_Option.GO, _Option.INFO):
                flags = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA
                self._say(option, _Answer.INFO, struct.pack("!HQH", 0, self._disk.size, flags))
                self._say(option, _Answer.ACK)
            else:
                self._say(option, _Answer.ACK if option == _Option.ABORT else _Answer.UNSUPPORTED)
            if option == _Option.GO:
                return True
            if option == _Option.ABORT:
                return False
        return False

    def _say(self, option: int, answer: _Answer, data: bytes = b"") -> None:
        self._client.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, answer, len(data)) + data)

    def _answered(self) -> bool:
        """Answer one request; False when the client left."""
        head = self._stream.read(_REQUEST.size)
        if len(head) < _REQUEST.size:
            return False
        magic, flags, command, handle, at, length = _REQUEST.unpack(head)
        if magic != _REQUEST_MAGIC or command == _Command.DISCONNECT:
            return False
        data = self._stream.read(length) if command == _Command.WRITE else b""
        error = 0
        try:
            data = self._do(command, flags, at, length, data)
        except OSError as refusal:
            error, data = refusal.errno or errno.EIO, b""
        self._client.sendall(_REPLY.pack(_REPLY_MAGIC, error, handle) + data)
        return True

    def _do(self, command: int, flags: int, at: int, length: int, data: bytes) -> bytes:
        """Carry a request out; what the reply holds."""
        match command:
            case _Command.READ:
                return self._disk.read(self._starts, at, length)
            case _Command.WRITE:
                self._disk.write(self._starts, at, data, durable=bool(flags & _FUA))
            case _Command.FLUSH:
                self._disk.flush(self._starts)
            case _:
                raise OSError(errno.EINVAL, "no such command")
        return b""


def obey(disk: Disk, line: str) -> bool:
    """Do what a control line says; False for `exit`."""
    match line.split():
        case ["cut", seed, share]:
            disk.cut(int(seed), float(share))
        case ["power-on"]:
            disk.power_on()
        case ["keep"]:
            disk.keep()
        case ["fresh"]:
            disk.fresh()
        case ["exit"]:
            return False
        case _:
            raise ValueError(f"{line!r} is no order for a disk")
    return True


def _serve_nbd(disk: Disk, listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=Connection(disk, client).serve, daemon=True).start()


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def _end_with_the_starter() -> None:
    sys.stdin.read()
    os._exit(1)


def main(size: int, nbd: str, control: str) -> None:
    """Serve until the control socket says `exit`, or standard input ends."""
    disk = Disk(size)
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    threading.Thread(target=_serve_nbd, args=(disk, _listen(nbd)), daemon=True).start()
    orders = _listen(control)
    print("ready", flush=True)
    powered = True
    while powered:
        client, _ = orders.accept()
        with client, client.makefile("rw") as stream:
            for line in stream:
                powered = powered and obey(disk, line)
                stream.write("ok\n")
                stream.flush()
    for path in (nbd, control):
        Path(path).unlink(missing_ok=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
