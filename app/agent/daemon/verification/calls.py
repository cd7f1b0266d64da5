"""The service's requests for a verification, which takes hours: they outlast a service that is away."""

from collections.abc import Callable
from typing import Final, TypeVar

from app.agent.daemon.errors import LinkError, LinkRefused
from app.agent.daemon.link.answer import asked_pause
from app.agent.daemon.link.link import Link, Request
from app.agent.daemon.service import parsed
from app.agent.daemon.verification.guard import Guard
from app.wire.jsonform import encode
from app.wire.messages import MAX_MESSAGE
from app.wire.tree import LEAF_BYTES
from app.wire.verification import HEAD, CheckpointRoots, LeftOut, Pace, Progress, Verification

T = TypeVar("T")

ABSENT_SECONDS: Final = 15.0
_ABSENT: Final = frozenset({"SERVICE_UNREACHABLE", "SERVICE_TIMEOUT", "SERVICE_BUSY", "ANSWER_CUT_OFF"})


class VerificationCalls:
    """Typed calls. Raises Refusal, Denied, LinkError, Stopped; a service that is away is waited for, and the
    first time of a row is told to `note`."""

    def __init__(self, link: Link, guard: Guard, note: Callable[[str], None]) -> None:
        self._link = link
        self._guard = guard
        self._note = note

    def head(self) -> CheckpointRoots:
        """The newest checkpoint. Raises Refusal CHECKPOINT_NOT_FOUND before the first."""
        request = Request("GET", f"/checkpoints/{HEAD}")
        return self._patiently(lambda: parsed(CheckpointRoots, self._link.send(request)))

    def left_out(self, checkpoint: str, disk: str) -> LeftOut:
        """What of a disk is zeros in a checkpoint. Raises Refusal CHECKPOINT_NOT_FOUND."""
        request = Request("GET", f"/checkpoints/{checkpoint}/disks/{disk}/left-out", limit=MAX_MESSAGE)
        return self._patiently(lambda: parsed(LeftOut, self._link.send(request)))

    def leaf(self, checkpoint: str, disk: str, index: int) -> bytes:
        """The ids of a leaf. Raises Refusal LEAVES_UNREADABLE, CHECKPOINT_NOT_FOUND."""
        path = f"/checkpoints/{checkpoint}/disks/{disk}/leaves?start={index}&count=1"
        body = self._patiently(lambda: self._link.send(Request("GET", path, limit=LEAF_BYTES)))
        if len(body) != LEAF_BYTES:
            raise LinkError(f"the service answered a leaf of {len(body)} bytes", code="BAD_ANSWER")
        return body

    def progress(self, verification: str, progress: Progress) -> Pace:
        """Tell how far it is; how fast it may go on. Raises LinkError: the next one does as well."""
        request = Request("POST", f"/verifications/{verification}/progress", encode(progress))
        return parsed(Pace, self._link.send(request, attempts=1))

    def result(self, verification: str, result: Verification) -> None:
        """Deliver the result."""
        request = Request("POST", f"/verifications/{verification}/result", encode(result))
        self._patiently(lambda: self._link.send(request))

    def _patiently(self, ask: Callable[[], T]) -> T:
        was_told = False
        while True:
            try:
                return ask()
            except LinkError as error:
                if isinstance(error, LinkRefused) or error.code not in _ABSENT:
                    raise
                if not was_told:
                    self._note(f"the verification waits for the service: {error}")
                was_told = True
                self._guard.wait(max(ABSENT_SECONDS, asked_pause(error)))
