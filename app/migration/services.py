"""What the features run on: one bundle, made by the composition root and carried by each edge."""

from dataclasses import dataclass, field

from app.kit.bus import Bus
from app.kit.clock import Clock
from app.kit.database import Database
from app.kit.settings import Settings
from app.kit.turns import TurnsByName
from app.store.objects import ObjectStore


@dataclass(frozen=True)
class Services:
    """The parts of a running process that services and edges share."""

    settings: Settings
    clock: Clock
    database: Database
    bus: Bus
    objects: ObjectStore | None
    """The store; None in a process whose roles never touch it (platform)."""

    commits: TurnsByName = field(default_factory=TurnsByName)
    """The turn to commit of each replication session."""

    @property
    def store(self) -> ObjectStore:
        """The store of a process that has one."""
        assert self.objects is not None, "this role was started without a store"
        return self.objects
