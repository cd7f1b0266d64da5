"""A way to a server on which connections break: a TCP relay that cuts each after some bytes, some times."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Cutter:
    """The relay. Of each connection the bytes of both directions are counted together."""

    server: tuple[str, int]
    listener: socket.socket
    every: int
    times: int
    cuts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def before(cls, url: str, every: int, times: int) -> "Iterator[Cutter]":
        """Relay to the server of `url`; cut connections after `every` bytes, the first `times` times."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            cutter = cls((parts.hostname, parts.port), listener, every, times)
            cutter.run(cutter.serve)
            yield cutter
            listener.shutdown(socket.SHUT_RDWR)
            for thread in cutter.threads:
                thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self.threads.append(thread)
        thread.start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            Relay(self, client, socket.create_connection(self.server)).start()

    def may_cut(self) -> bool:
        with self.lock:
            if self.cuts == self.times:
                return False
            self.cuts += 1
            return True


class Relay:
    """One connection."""

    def __init__(self, cutter: Cutter, client: socket.socket, server: socket.socket) -> None:
        self.cutter, self.client, self.server = cutter, client, server
        self.passed, self.open = 0, 2

    def start(self) -> None:
        for ends in ((self.client, self.server), (self.server, self.client)):
            self.cutter.run(self.move, *ends)

    def move(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the other direction cut it
            while data := source.recv(1 << 16):
                self.passed += len(data)
                if self.passed > self.cutter.every and self.cutter.may_cut():
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        """Close both ends, after the second direction has ended."""
        with self.cutter.lock:
            self.open -= 1
            if not self.open:
                self.client.close()
                self.server.close()
