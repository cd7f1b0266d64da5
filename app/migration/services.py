"""What the features run on: one bundle, made by the composition root and carried by each edge."""

from dataclasses import dataclass, field

from app.kit.bus import Bus
from app.kit.clock import Clock
from app.kit.database import Database
from app.kit.livesettings import LiveSettings
from app.kit.settings import PaceSettings, Settings
from app.kit.turns import TurnsByName
from app.migration.callbacks import outbox
from app.migration.pace.sending import SendingServers
from app.store.objects import ObjectStore
from app.work.jobs import Jobs
from app.work.kinds import Kinds


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

    live: LiveSettings | None = None
    """The settings that may change while the process runs; None where they stay as they were read."""

    sending: SendingServers = field(default_factory=SendingServers)
    """Which servers send now."""

    kinds: Kinds = field(default_factory=Kinds)
    """The kinds of jobs that features have registered."""

    def __post_init__(self) -> None:
        """What units of work have to tell goes into the outbox with them, and on the bus after them."""
        self.database.record_news(outbox.record)
        self.database.tell_on(self.bus)

    @property
    def jobs(self) -> Jobs:
        """Where jobs are ordered, cancelled and retried."""
        return Jobs(self.bus, self.kinds)

    @property
    def now(self) -> Settings:
        """The settings with what changed in their file since the start."""
        return self.settings if self.live is None else self.live.current

    @property
    def pace(self) -> PaceSettings:
        """What all agents together may send, as it stands in the settings now."""
        return self.now.pace

    @property
    def store(self) -> ObjectStore:
        """The store of a process that has one."""
        assert self.objects is not None, "this role was started without a store"
        return self.objects
