"""What the journal of a hold says: how far the agent is, and what it must know to go on after a kill."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.wire.hold import HeldRoot, HoldServices, HookRun


class Stage(StrEnum):
    """How far the agent is with a hold.

    A stage that ends in -ING is written before its effect begins: an agent that was killed in it does the
    effect again, or knows that it may have begun.

    `STOPPING`: hooks stop the services. `STOPPED`: they have run, well or not. `FINISHING`: the final
    checkpoint is being made. `FINISHED`: it was made, or cannot be. `HOLDING`: from here on only an order
    gives the services back; hooks make sure that they stay stopped. `HELD`: done. `RESTOPPING`: the host
    started anew while it was held, so hooks stop the services again. `STARTING`: hooks start the services.
    `STARTED`: the end.
    """

    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FINISHING = "FINISHING"
    FINISHED = "FINISHED"
    HOLDING = "HOLDING"
    HELD = "HELD"
    RESTOPPING = "RESTOPPING"
    STARTING = "STARTING"
    STARTED = "STARTED"


LOOSE: Final = frozenset({Stage.STOPPING, Stage.STOPPED, Stage.FINISHING, Stage.FINISHED})
"""In these the dead-man runs, and a reboot of the host ends the hold."""
FIRM: Final = frozenset({Stage.HOLDING, Stage.HELD, Stage.RESTOPPING})
"""In these the services stay stopped whatever happens, until an order comes."""


@dataclass(frozen=True)
class Record:
    """One hold. `stage` is a Stage; `revision` is that of the newest order that was acted on.

    `deadline_ms` is a moment of the boot `boot`: a loose hold ends there unless something is heard. `is_held`
    says that HELD was reached once, and `proof` is made with it. The other fields are those of a HoldReport.
    """

    cutover: str
    revision: int
    stage: str
    boot: str
    deadline_ms: int = 0
    services: str = HoldServices.UNTOUCHED
    cause: str = ""
    code: str = ""
    detail: str = ""
    checkpoint_id: str = ""
    label: str = ""
    frozen_ms: int = 0
    roots: tuple[HeldRoot, ...] = ()
    proof: str = ""
    is_held: bool = False
    hooks: tuple[HookRun, ...] = ()

    @property
    def is_loose(self) -> bool:
        """Whether the dead-man counts."""
        return self.stage in LOOSE

    @property
    def is_firm(self) -> bool:
        """Whether only an order ends it."""
        return self.stage in FIRM

    @property
    def is_over(self) -> bool:
        """Whether the services are the owner's again."""
        return self.stage == Stage.STARTED

    @property
    def has_stopped(self) -> bool:
        """Whether the hooks stopped the services, as far as there are any."""
        return self.services in (HoldServices.STOPPED, HoldServices.NO_HOOK)
