"""A hold as a value, and what a report may change about it: pure, so that a test enumerates it.

Phases have a rank: nothing, QUIESCED, FINAL, HELD, RELEASED. What is reached only rises. RELEASED is the end
of a hold: the source has its services back, and nothing can be launched for this cutover any more.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from app.contract.words import HoldCause, HoldPhase, HoldServices

P = HoldPhase
RISING = (None, P.QUIESCED, P.FINAL, P.HELD, P.RELEASED)


@dataclass(frozen=True, slots=True)
class HoldHook:
    """A hook that the agent ran: how it ended, in a sentence, and the end of its output."""

    name: str
    phase: str
    has_succeeded: bool
    outcome: str
    output: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it is now.

    `reached` is what the agent reported and the service believed; None before the first report. `code` is
    empty, or says why the wanted phase is not reached or what is wrong with the reached one; `detail` says
    it in words. `checkpoint_id` is the final checkpoint, for which the source stood still `frozen_ms`. Times
    are those of the service: `requested_at` and `wanted_at` of orders, the others of first reports.
    """

    server_id: str
    cutover_id: str
    wanted: HoldPhase
    reached: HoldPhase | None
    services: HoldServices
    cause: HoldCause | None
    seconds: int
    code: str
    detail: str
    checkpoint_id: str | None
    frozen_ms: int | None
    hooks: tuple[HoldHook, ...]
    requested_at: datetime
    wanted_at: datetime
    reported_at: datetime | None
    quiesced_at: datetime | None
    final_at: datetime | None
    held_at: datetime | None
    released_at: datetime | None

    def is_reached(self, phase: HoldPhase) -> bool:
        """Whether the source is in this phase or in a firmer one; RELEASED is none of those and ends them."""
        if phase is P.RELEASED or self.reached is P.RELEASED:
            return self.reached is phase
        return rank(self.reached) >= rank(phase)

    @property
    def has_failed(self) -> bool:
        """Whether what is wanted will not be reached: waiting longer is in vain."""
        return bool(self.code) and not self.is_reached(self.wanted)

    @property
    def is_source_active(self) -> bool:
        """Whether services may be running on the source although it is held: a report has to say so."""
        return self.services is not HoldServices.STOPPED


class Judgement(Enum):
    """What is done with a report."""

    TAKE = auto()
    IGNORE = auto()
    """It is an older one that comes late, or one of a hold that is over."""
    NOT_WANTED = auto()
    """It claims more than was ever wanted."""
    NOT_THE_HOLDER = auto()
    """It lacks the proof of the agent that holds: it comes of a copy of the source."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a hold or a report stands: the phase and the revision of the order that it follows."""

    phase: HoldPhase | None
    revision: int


def rank(phase: HoldPhase | None) -> int:
    """How far a phase is."""
    return RISING.index(phase)


def judge(
    wanted: HoldPhase, reached: Progress, reported: Progress, *, proof: str, reported_proof: str
) -> Judgement:
    """What to do with a report of a hold; `proof` is that of its holder, empty if nobody holds."""
    if proof and reported_proof != proof:
        return Judgement.NOT_THE_HOLDER
    if (rank(reported.phase), reported.revision) < (rank(reached.phase), reached.revision):
        return Judgement.IGNORE
    is_claim = reported.phase is not P.RELEASED and wanted is not P.RELEASED
    if is_claim and rank(reported.phase) > rank(wanted):
        return Judgement.NOT_WANTED
    return Judgement.TAKE
