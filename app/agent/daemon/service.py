"""The service's agent API as typed calls; see `app.wire.messages` for the order of a session."""

import http.client
import socket
import struct
from datetime import UTC, datetime
from typing import Final, TypeVar

from app.agent.daemon.errors import LinkError
from app.agent.daemon.link.answer import read_answer
from app.agent.daemon.link.congestion import network_seconds
from app.agent.daemon.link.connection import send_all, shut_down, translated
from app.agent.daemon.link.link import BYTES, MAX_ANSWER, STALL_SECONDS, Link, Request
from app.agent.daemon.pace import IsOver, stopped
from app.wire import messages
from app.wire.buffers import Buffer
from app.wire.chunks import MAX_CHUNK_SIZE
from app.wire.errors import MessageError
from app.wire.jsonform import decode, encode
from app.wire.patch import SIGNATURE_BYTES
from app.wire.tree import LEAF_BYTES

T = TypeVar("T")

_LENGTH: Final = struct.Struct("!I")
_MOST_SIGNATURES: Final = MAX_CHUNK_SIZE // 4096 * SIGNATURE_BYTES
_LEAF_CODES: Final = frozenset({"LEAF_MISMATCH", "LEAF_BASE_MISSING"})
"""Refusals that are about a leaf and not a chunk."""
POLL_GRACE_SECONDS: Final = 8.0
PUT_SECONDS: Final = 60.0
"""A put that its pace slows down is ended after this time, so that little is ever unacknowledged."""
COMMIT_ATTEMPTS: Final = 40
"""A commit of a large disk takes minutes: what repeats it joins the one that is under way."""


def parsed(kind: type[T], body: bytes) -> T:
    """An answer as a message. Raises LinkError for one that does not have the form."""
    try:
        return decode(kind, body)
    except MessageError as error:
        raise LinkError(
            f"the service's answer is not understood: {error}",
            code="BAD_ANSWER",
            remedy="upgrade the older of agent and service",
        ) from error


class Service:
    """The calls outside of a session. Raises LinkError, Refusal, Denied, Stopped."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def enroll(self, message: messages.Enroll) -> messages.Enrolled:
        """Redeem an install token. Not repeated: a token may be for one use."""
        request = Request("POST", "/enroll", encode(message))
        return parsed(messages.Enrolled, self.link.send(request, attempts=1))

    def poll(self, message: messages.Poll, attempts: int | None = None) -> messages.Polled:
        """A heartbeat that waits for a command for up to the message's `wait_seconds`.

        The rate that the answer orders holds at once, for what is under way as well.
        """
        request = Request("POST", "/poll", encode(message), timeout=message.wait_seconds + POLL_GRACE_SECONDS)
        polled = parsed(messages.Polled, self.link.send(request, attempts))
        self.link.pace.set_rate(polled.orders.wire_rate)
        return polled

    def release(self, message: messages.Release) -> None:
        """Say good-bye: another instance may take over at once."""
        self.link.send(Request("POST", "/release", encode(message), timeout=5.0), attempts=1)

    def open(self, message: messages.Open) -> "Session":
        """Open a session."""
        body = self.link.send(Request("POST", "/sessions", encode(message)))
        return Session(self.link, parsed(messages.Opened, body))


class Session:
    """A replication session. `doubted` are ids of chunks that are sent whole, whatever the service has, and
    `whole_leaves` hashes of such leaves; `mismatched` are chunks whose patch did not give them. `named` has,
    by their digests, the ids of chunks of which only blocks were sent; `refused_blocks` are those digests
    that it did not take.

    What sends much waits for the link's pace. It raises Stopped when `is_over` holds; a put that is under way
    when `is_broken_off` does: an order to pause lets it end.
    """

    def __init__(self, link: Link, opened: messages.Opened) -> None:
        self._link = link
        self.is_over: IsOver = link.is_stopped
        self.is_broken_off: IsOver = link.is_stopped
        self.opened = opened
        self.limits = opened.limits
        self.proof_key = _hex(opened.proof_key, "proof_key")
        self.doubted: set[bytes] = {_hex(text, "resend") for text in opened.resend}
        self.mismatched: set[bytes] = set()
        self.whole_leaves: set[bytes] = set()
        self.named: dict[bytes, bytes] = {}
        self.refused_blocks: set[bytes] = set()

    @property
    def head_time(self) -> datetime | None:
        """The moment that the head shows; None where there is no head. Raises LinkError."""
        text = self.opened.head_time
        try:
            return datetime.fromisoformat(text).astimezone(UTC) if text else None
        except (ValueError, OverflowError) as error:
            raise LinkError(f"the head's time is no ISO-8601 time: {text!r}", code="BAD_ANSWER") from error

    def _path(self, rest: str) -> str:
        return f"/sessions/{self.opened.session_id}{rest}"

    def leaves(self, disk_id: str, start: int, count: int) -> bytes:
        """The chunk ids of `count` leaves of the disk's base from leaf `start`."""
        path = self._path(f"/disks/{disk_id}/leaves?start={start}&count={count}")
        return self._exactly(count * LEAF_BYTES, Request("GET", path, limit=count * LEAF_BYTES))

    def have(self, ids: list[bytes]) -> bytes:
        """One HAVE_* byte an id."""
        most = max(1, min(messages.MAX_HAVE, self.limits.have_ids))
        parts = [ids[at : at + most] for at in range(0, len(ids), most)]
        path = self._path("/have")
        return b"".join(
            self._exactly(len(part), self._paced(Request("POST", path, b"".join(part), BYTES)))
            for part in parts
        )

    def signatures(self, ids: list[bytes]) -> list[bytes]:
        """The block signatures of chunks, empty for one that the service does not know."""
        limit = min(MAX_ANSWER, len(ids) * (_MOST_SIGNATURES + _LENGTH.size))
        request = Request("POST", self._path("/signatures"), b"".join(ids), BYTES, limit=limit)
        return _split(self._link.send(self._paced(request)), len(ids))

    def _paced(self, request: Request) -> Request:
        """The request, when its bytes may go out."""
        if not self._link.pace.take(len(request.body), self.is_over):
            raise stopped()
        return request

    def begin_put(self, patience: float = STALL_SECONDS) -> "PutStream":
        """Open a put; what is written goes out at once. It is lost when nothing moves for `patience` seconds.

        With pace 0 it waits before it opens one. Raises LinkError, Stopped.
        """
        if not self._link.pace.take(0, self.is_over):
            raise stopped()
        return PutStream(self._link, self._path("/put"), patience, self._breaks_off)

    def _breaks_off(self) -> bool:
        """Asked anew each time: the pass that a put belongs to sets it."""
        return self.is_broken_off()

    def may_go_on(self, put: "PutStream", most: int) -> bool:
        """Whether a put shall take more: up to `most` bytes, and to what the pace lets out in PUT_SECONDS."""
        rate = self._link.pace.rate
        return put.sent < (most if rate is None else min(most, rate * PUT_SECONDS))

    def commit(self, message: messages.Commit) -> messages.Committed:
        """Make the checkpoint. Repeated when no answer came: the same commit twice is one."""
        request = Request("POST", self._path("/commit"), encode(message))
        return parsed(messages.Committed, self._link.send(request, COMMIT_ATTEMPTS))

    def take_refused(self, refused: tuple[messages.Refused, ...]) -> None:
        """Remember what a put did not accept."""
        for each in refused:
            name = _hex(each.id, "refused")
            if each.code in _LEAF_CODES:
                self.whole_leaves.add(name)
            elif each.code == "BLOCKS_REFUSED":
                self.refused_blocks.add(name)
            else:
                self.doubted.add(name)
            if each.code == "PATCH_MISMATCH":
                self.mismatched.add(name)

    def pause(self, attempt: int, at_least: float = 0.0) -> None:
        """Wait before another attempt, as long as the service asked for at least. Raises Stopped."""
        self._link.pause(attempt, at_least, self.is_over)

    def _exactly(self, length: int, request: Request) -> bytes:
        body = self._link.send(request)
        if len(body) != length:
            raise LinkError(
                f"the service answered {len(body)} bytes where {length} were asked for", code="BAD_ANSWER"
            )
        return body


class PutStream:
    """A put in the making: a chunked request body. Close it in any case."""

    def __init__(self, link: Link, path: str, patience: float, is_over: IsOver) -> None:
        self._link = link
        self._is_over = is_over
        self._connection = link.open_connection()
        self.sent = 0
        with translated(link.endpoint):
            self._connection.putrequest("POST", link.path(path), skip_accept_encoding=True)
            for name, value in link.headers(BYTES).items():
                self._connection.putheader(name, value)
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.endheaders()
            self._connection.sock.settimeout(patience)

    def write(self, frame: Buffer) -> None:
        """Send bytes of the body at the link's pace.

        Raises LinkError, Refusal when the service said no meanwhile, Stopped when the pass is over.
        """
        for part in (b"%x\r\n" % len(frame), frame, b"\r\n"):
            self._write(part)
        self.sent += len(frame)

    def _write(self, data: Buffer) -> None:
        with translated(self._link.endpoint):
            try:
                for piece in self._link.pace.pieces(data, self._is_over):
                    send_all(self._connection.sock, piece)
            except (BrokenPipeError, ConnectionResetError):
                self._early_answer()
                raise

    def _early_answer(self) -> None:
        """The service closed its ear: raise its refusal if it left one."""
        try:
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            return  # it left none: the caller raises what it met
        read_answer(response, MAX_ANSWER)

    def result(self) -> messages.PutResult:
        """End the body and wait until all of it is durable. Raises LinkError, Refusal."""
        self._write(b"0\r\n\r\n")
        with translated(self._link.endpoint):
            body = read_answer(self._connection.getresponse(), MAX_ANSWER)
        return parsed(messages.PutResult, body)

    def network_seconds(self) -> float | None:
        """See `app.agent.daemon.link.congestion`."""
        sock: socket.socket | None = self._connection.sock
        return None if sock is None else network_seconds(sock)

    def close(self) -> None:
        """Give the connection up; a put without a result counts as lost. Whoever waits for it is told."""
        shut_down(self._connection)
        self._link.discard(self._connection)


def _hex(text: str, field: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise LinkError(f"the service's {field} is not hex: {text!r}", code="BAD_ANSWER") from error


def _split(body: bytes, count: int) -> list[bytes]:
    parts, at = [], 0
    for _ in range(count):
        if at + _LENGTH.size > len(body):
            raise LinkError("the service's signatures are cut off", code="BAD_ANSWER")
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        parts.append(body[at : at + length])
        at += length
    return parts
