"""What passes over a host's disks work with on that host."""

from dataclasses import dataclass, field

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.following.owner import Pausing
from app.agent.daemon.freezer.client import BUDGET_SECONDS, Freezer
from app.agent.daemon.hooks import Hooks
from app.agent.daemon.status import Board
from app.agent.daemon.yielding import Gate


@dataclass(frozen=True)
class Host:
    """Without a `freezer` the source is never frozen; with one, for at most `budget` seconds at a time.

    `hooks` are run and `pausing` rests around a cut, reading waits at the `gate`, and the `board` shows what
    goes on.
    """

    follower: Follower
    freezer: Freezer | None = None
    hooks: Hooks = field(default_factory=Hooks)
    pausing: Pausing | None = None
    gate: Gate = field(default_factory=Gate)
    board: Board = field(default_factory=Board)
    budget: float = BUDGET_SECONDS
