"""The hold: what a cutover wants of the source's services, and how far the agent is with it.

    Orders.hold                                    HoldOrder, repeated in every answer while a hold stands
    POST /agent/v1/holds/{cutover}/report          HoldReport   the same one twice is one

The order states what is wanted, not what is to be done: an agent that was away, or started anew, does what is
left. Orders of one server have ascending revisions; an agent that has heard one ignores what is older.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from app.wire.jsonform import AtMost, Hex

ID_BYTES: Final = 32
PROOF_BYTES: Final = 16
LONGEST_SECONDS: Final = 86400
MAX_HOOKS: Final = 32
"""Hooks that a report tells of."""
MAX_OUTPUT: Final = 4000
"""Characters of a hook's output that a report has, its end."""


class HoldPhase(StrEnum):
    """See `app.contract.words.HoldPhase`."""

    RELEASED = "RELEASED"
    QUIESCED = "QUIESCED"
    FINAL = "FINAL"
    HELD = "HELD"


class HoldServices(StrEnum):
    """See `app.contract.words.HoldServices`."""

    UNTOUCHED = "UNTOUCHED"
    NO_HOOK = "NO_HOOK"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    STARTED = "STARTED"
    NOT_STARTED = "NOT_STARTED"


class HoldCause(StrEnum):
    """See `app.contract.words.HoldCause`."""

    ORDERED = "ORDERED"
    EXPIRED = "EXPIRED"
    REBOOTED = "REBOOTED"
    UNKNOWN = "UNKNOWN"
    REPLACED = "REPLACED"


HOOK_FAILED: Final = "HOOK_FAILED"
"""A hook failed that was to stop or to start services."""
FINAL_NOT_FROZEN: Final = "FINAL_NOT_FROZEN"
"""The last checkpoint is no true point in time, so it cannot be the final one."""
SOURCE_RELEASED: Final = "SOURCE_RELEASED"
"""The source has its services back: this cutover is over."""
OTHER_HOLD: Final = "OTHER_HOLD"
"""The source is held for another cutover."""
SOURCE_REBOOTED: Final = "SOURCE_REBOOTED"
"""The host was rebooted while it was held, and its services ran until they were stopped again: HELD holds."""


@dataclass(frozen=True)
class HoldOrder:
    """`phase` (a HoldPhase) is what is wanted for this cutover. Before HELD was wanted, an agent that hears
    no order of it for `seconds` gives the services back by itself and is done with the cutover."""

    cutover: Annotated[str, AtMost(32)]
    phase: Annotated[str, AtMost(16)]
    seconds: Annotated[int, AtMost(LONGEST_SECONDS)]
    revision: int


@dataclass(frozen=True)
class HeldRoot:
    """The root of a disk at the final checkpoint, as the agent derives it from its own leaves."""

    disk_id: Annotated[str, AtMost(32)]
    root: Annotated[str, Hex(ID_BYTES)]


@dataclass(frozen=True)
class HookRun:
    """A hook of the owner that was run: how it ended, in a sentence, and the end of its output."""

    name: Annotated[str, AtMost(255)]
    phase: Annotated[str, AtMost(32)]
    has_succeeded: bool
    outcome: Annotated[str, AtMost(1000)]
    output: Annotated[str, AtMost(MAX_OUTPUT)] = ""


@dataclass(frozen=True)
class HoldReport:
    """How far the agent is with the order of this `revision`.

    `phase` (a HoldPhase) is what is reached, empty where nothing is yet; `services` (a HoldServices) says
    what became of them. `code` is empty where all is well, else why the wanted phase is not reached or what
    is wrong with the reached one, and `detail` says it in words. From FINAL on there are the checkpoint, its
    label, how long the source stood still for it, and the roots. `cause` (a HoldCause) says why the hold is
    RELEASED. `proof` (hex) is made with HELD: only the agent that held can say later that it does not.
    """

    revision: int
    phase: Annotated[str, AtMost(16)] = ""
    services: Annotated[str, AtMost(16)] = HoldServices.UNTOUCHED
    code: Annotated[str, AtMost(64)] = ""
    detail: Annotated[str, AtMost(1000)] = ""
    cause: Annotated[str, AtMost(16)] = ""
    checkpoint_id: Annotated[str, AtMost(32)] = ""
    label: Annotated[str, AtMost(16)] = ""
    frozen_ms: int = 0
    roots: tuple[HeldRoot, ...] = ()
    proof: Annotated[str, Hex(PROOF_BYTES, or_empty=True)] = ""
    hooks: tuple[HookRun, ...] = ()
