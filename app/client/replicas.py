"""What takes more than one answer to read: exporting a disk and verifying a checkpoint."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from app.client import servers
from app.client.errors import BadAnswer, ClientError, Interrupted
from app.client.transport import Client
from app.contract.resources.checkpoint import (
    VERIFY_EVENT,
    Checkpoint,
    CheckpointDisk,
    VerifyFailed,
    VerifyProgress,
    VerifyResult,
)
from app.store.volume import VolumeWriter
from app.wire.frames import FrameReader

MAX_LINE = 4 << 20

Progress = Callable[[int, int], None]
"""Told of the bytes done and the bytes in all."""


class VerificationFailed(ClientError):
    """Verifying broke off on the service's side; nothing is known of the replica then."""

    def __init__(self, event: VerifyFailed) -> None:
        """Keeps the service's code."""
        super().__init__(event.detail, remedy=event.remedy)
        self.code = event.code


def export_disk(
    client: Client,
    checkpoint: Checkpoint,
    disk: CheckpointDisk,
    output: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> bytes:
    """Write a disk of a checkpoint to a file or block device; its root (32 bytes), recomputed from there.

    A file appears under its name only when its root is the checkpoint's. Raises ClientError, StoreError and
    WireError; `progress` is told after each piece.
    """
    call = servers.content(checkpoint.server_id, checkpoint.id, disk.disk_id)
    with VolumeWriter(output, disk.size_bytes, bytes.fromhex(disk.root), force=force) as writer:
        frames = FrameReader()
        with client.stream(call) as pieces:
            for piece in pieces:
                writer.feed(frames.feed(piece))
                if progress is not None:
                    progress(writer.position, disk.size_bytes)
        return writer.finish()


def verify(client: Client, server: str, at: str = servers.LATEST) -> Iterator[VerifyProgress | VerifyResult]:
    """Let the service read all that it stores of a checkpoint again; the last event is the result.

    Raises VerificationFailed, and Interrupted when no result came.
    """
    with client.stream(servers.verify(server, at)) as pieces:
        for line in _lines(pieces):
            event = _event(line)
            if isinstance(event, VerifyFailed):
                raise VerificationFailed(event)
            yield event
            if isinstance(event, VerifyResult):
                return
    raise Interrupted(f"verifying {server} ended without a result", remedy="start again")


def _event(line: bytes) -> VerifyProgress | VerifyResult | VerifyFailed:
    try:
        return VERIFY_EVENT.validate_json(line)
    except ValidationError as error:
        raise BadAnswer(
            f"an event of the verification cannot be read: {error}",
            remedy="use a client of the service's version",
        ) from error


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE:
            raise BadAnswer(f"a line of the answer is longer than {MAX_LINE} bytes")
    if rest:
        yield rest
