"""An agent written by hand on http.client, so that it can send what no real one would."""

import http.client
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from app.client import replicas, servers
from app.client.transport import Client
from app.contract.resources.server import Server
from app.wire import version
from app.wire.buffers import Buffer
from app.wire.frames import encode_chunks, encode_end, encode_leaves
from app.wire.jsonform import decode, encode
from app.wire.messages import Commit, Committed, Enroll, Enrolled, Inventory, Open, Opened, PutResult
from tests.replication.agent_double import DISK, chunk_records, disk_commit, leaves_of

T = TypeVar("T")
TIMEOUT = 20.0
WIRE = {version.HEADER: str(version.VERSION)}
END = b"".join(encode_end())
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """What the gateway answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def good(self, kind: type[T], status: int = 200) -> T:
        """The message of a good answer."""
        assert self.status == status, self.body
        assert self.headers[version.HEADER] == str(version.VERSION)
        return decode(kind, self.body)

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document of a refusal."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        document: dict[str, Any] = json.loads(self.body)
        assert {"type", "title", "status", "detail", "code", "requestId"} <= document.keys()
        assert document["status"] == self.status
        return document

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self.problem["code"]


@dataclass(frozen=True)
class Caller:
    """Sends requests to the agent tier, each on a connection of its own."""

    port: int
    credential: str | None = None

    def call(
        self, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer; a body of pieces goes out chunked."""
        connection = self.connect()
        try:
            connection.request(method, f"/agent/v1{path}", body, self.headers() | dict(headers or {}))
            return answer(connection)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return WIRE | ({"Authorization": f"Bearer {self.credential}"} if self.credential else {})

    def begin(self, path: str) -> http.client.HTTPConnection:
        """A chunked POST whose body has not begun."""
        connection = self.connect()
        connection.putrequest("POST", f"/agent/v1{path}")
        for name, value in self.headers().items():
            connection.putheader(name, value)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        return connection


def answer(connection: http.client.HTTPConnection) -> Answer:
    """Read the answer of a connection."""
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def send_piece(connection: http.client.HTTPConnection, data: bytes) -> None:
    """One piece of a chunked body; an empty one ends it."""
    connection.send(b"%x\r\n%b\r\n" % (len(data), data))


class HandAgent:
    """One enrolled agent; `path` of a call is below its session."""

    def __init__(self, caller: Caller, server: str, instance: str = "instance-1") -> None:
        """Use `enrolled`, or this to copy an agent."""
        self.caller = caller
        self.server = server
        self.instance = instance
        self.opened: Opened | None = None

    @classmethod
    def enrolled(cls, port: int, token: str, hostname: str) -> "HandAgent":
        """Redeem an install token."""
        message = Enroll(token, "instance-1", "1.0", Inventory(hostname))
        enrolled = Caller(port).call("POST", "/enroll", encode(message)).good(Enrolled, 201)
        return cls(Caller(port, enrolled.credential), enrolled.server_id)

    @property
    def session(self) -> Opened:
        """The open session."""
        assert self.opened is not None
        return self.opened

    def path(self, rest: str) -> str:
        """A path below the session."""
        return f"/sessions/{self.session.session_id}{rest}"

    def try_open(self, sizes: Mapping[str, int]) -> Answer:
        """Ask for a session."""
        disks = tuple(replace(DISK, key=key, size=size) for key, size in sizes.items())
        return self.caller.call("POST", "/sessions", encode(Open(self.instance, "tracker", disks)))

    def open(self, sizes: Mapping[str, int]) -> Opened:
        """Open a session of disks with these keys and sizes."""
        self.opened = self.try_open(sizes).good(Opened, 201)
        return self.opened

    def try_put(self, *parts: Buffer) -> Answer:
        """Send these bytes as the body of a put, as one piece each."""
        return self.caller.call("POST", self.path("/put"), [bytes(part) for part in parts if len(part)])

    def put(self, *frames: Sequence[Buffer]) -> PutResult:
        """Send whole frames and the end."""
        return self.try_put(*(b"".join(parts) for parts in frames), END).good(PutResult)

    def put_disk(self, data: bytes) -> PutResult:
        """Send all chunks and leaves of a disk."""
        return self.put(encode_chunks(chunk_records(data)), encode_leaves(leaves_of(data)))

    def message(self, contents: Mapping[str, bytes]) -> Commit:
        """The commit of these contents, every leaf named."""
        bases = {base.key: base for base in self.session.disks}
        disks = tuple(
            disk_commit(bases[key].disk_id, bases[key].root, data) for key, data in contents.items()
        )
        time = "2026-01-02T03:04:05+00:00"
        return Commit(self.session.generation, self.session.head, time, "tracker", "rescan", "quiet", disks)

    def try_commit(self, message: Commit) -> Answer:
        """Ask for a commit."""
        return self.caller.call("POST", self.path("/commit"), encode(message))

    def replicate(self, contents: Mapping[str, bytes]) -> Committed:
        """A whole session: open, put everything, commit."""
        self.open({key: len(data) for key, data in contents.items()})
        for data in contents.values():
            self.put_disk(data)
        return self.try_commit(self.message(contents)).good(Committed)


def exported(client: Client, server: str, folder: Path) -> dict[str, bytes]:
    """The content of each disk of a server's newest checkpoint, verified against its root."""
    checkpoint = client.send(servers.checkpoint(server))
    found = {}
    for disk in checkpoint.disks:
        output = folder / f"{server}-{disk.key}.raw"
        replicas.export_disk(client, checkpoint, disk, output, force=True)
        found[disk.key] = output.read_bytes()
    return found


def shown(client: Client, server: str) -> Server:
    """The server's resource."""
    return client.send(servers.get(server))
