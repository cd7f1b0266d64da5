"""The cells of the cutover crash matrix: which process is killed, where, and where the cutover gets to.

Tiers: `api` does the steps of the place control, `agent` those of the place volumes and is the gateway of
the sources' agents; `source` is the agent on the source host.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tests.faults.process import cutover_seams as seams

TIERS: Final = ("api", "agent")
SOURCE: Final = "source"


class Way(Enum):
    """What happens beside the kill, and where that leads."""

    FORWARD = auto()
    """Nothing but that the killed process is started again: the machine runs."""
    CANCELLED = auto()
    """The job was cancelled, and is being undone: the source runs."""
    ALONE = auto()
    """The killed process stays away until the source has its services back: the source runs."""
    KEPT = auto()
    """It stays away as long, but the source keeps still by then: when it is back, the machine runs."""


@dataclass(frozen=True)
class Cell:
    """A process is killed at a point of it."""

    victim: str
    point: str
    way: Way = Way.FORWARD

    def __str__(self) -> str:
        """As a test is called."""
        return f"{self.way.name.lower()}-{self.victim}-{self.point}"


def _of(victim: str, points: tuple[str, ...], way: Way = Way.FORWARD) -> tuple[Cell, ...]:
    return tuple(Cell(victim, point, way) for point in points)


def _steps(job: str, names: tuple[str, ...], way: Way = Way.FORWARD) -> tuple[Cell, ...]:
    """Cells around steps, in the tier that does them."""
    return tuple(Cell(_tier(job, name), point, way) for name in names for point in seams.steps(job, (name,)))


def _tier(job: str, name: str) -> str:
    return "api" if name in seams.CONTROL and (job, name) != ("revert", "terminate") else "agent"


FORWARD: Final = (
    *_steps("cutover", (*seams.CONTROL, *seams.VOLUMES)),
    *_of("agent", seams.both(seams.MACHINE)),
    *_of("agent", seams.both(*(f"told.{phase}" for phase in seams.TOLD))),
    *_of(SOURCE, seams.both(*(f"hold.{stage}" for stage in seams.STOPPING))),
    *_of(SOURCE, (seams.FROZEN, seams.COMMITTED)),
)
CANCELLED: Final = (
    *_steps("undo", seams.UNDONE, Way.CANCELLED),
    *_of("agent", seams.both("told.RELEASED"), Way.CANCELLED),
    *_of(SOURCE, seams.both(*(f"hold.{stage}" for stage in seams.STARTING)), Way.CANCELLED),
)
ALONE: Final = (
    *_of("api", ("cutover.stop.after", *seams.both("cutover.cut"), "cutover.keep.before"), Way.ALONE),
    *_of("agent", (*seams.both("cutover.apply", "cutover.convert"), "told.QUIESCED.after"), Way.ALONE),
    *_of("api", ("cutover.keep.after",), Way.KEPT),
    *_of("agent", ("told.HELD.after", *seams.both("cutover.launch", seams.MACHINE)), Way.KEPT),
)
MATRIX: Final = (*FORWARD, *CANCELLED, *ALONE)

REVERTED: Final = tuple(
    Cell("agent" if name == "terminate" else "api", point)
    for name in seams.REVERT
    for point in seams.steps("revert", (name,))
)
FINALIZED: Final = tuple(Cell("api", point) for point in seams.steps("finalize", seams.FINALIZE))
"""A revert, and a finalize, of which each point is struck in turn."""

ALWAYS: Final = (
    Cell("api", "cutover.cut.after"),
    Cell("agent", "machine.launch.after"),
    Cell(SOURCE, seams.FROZEN),
    Cell("agent", "cutover.convert.before", Way.ALONE),
)
"""The cells that `make test` has time for."""
