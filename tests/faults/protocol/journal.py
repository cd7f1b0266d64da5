"""What a run asked of the service, in order: enough to ask the real services the same."""

from dataclasses import dataclass, field

from tests.faults.protocol.collecting import Service
from tests.faults.protocol.words import Answer, Request, Root


@dataclass(frozen=True)
class Began:
    """An operation began; `request` None is garbage collection."""

    task: int
    server: str
    request: Request | None


@dataclass(frozen=True)
class Stepped:
    """An operation went on from this coarse await point to its next, or to its end."""

    task: int
    point: str


@dataclass(frozen=True)
class Head:
    """A server's head: its number and roots; number 0 is none."""

    number: int
    roots: tuple[Root, ...]
    generation: int


@dataclass(frozen=True)
class Finished:
    """An operation ended; `heads` by server is how things stood then."""

    task: int
    answer: Answer
    heads: dict[str, Head]


@dataclass(frozen=True)
class Crashed:
    """The process died; what was running is gone."""


@dataclass(frozen=True)
class Passed:
    """Time passed."""

    seconds: int


Entry = Began | Stepped | Finished | Crashed | Passed


@dataclass
class Journal:
    """Keeps the entries, if it `keeps` any."""

    keeps: bool = False
    entries: list[Entry] = field(default_factory=list)

    def begins(self, task: int, server: str, request: Request | None) -> None:
        """An operation begins."""
        self._note(Began(task, server, request))

    def steps(self, task: int, point: str) -> None:
        """An operation is let go on from where it is."""
        self._note(Stepped(task, point))

    def ends(self, task: int, answer: Answer, service: Service) -> None:
        """An operation ends."""
        if self.keeps:
            self._note(Finished(task, answer, {name: head(service, name) for name in service.rows.servers}))

    def crashes(self) -> None:
        """The service crashes."""
        self._note(Crashed())

    def passes(self, seconds: int) -> None:
        """Time passes."""
        self._note(Passed(seconds))

    def _note(self, entry: Entry) -> None:
        if self.keeps:
            self.entries.append(entry)


def head(service: Service, server: str) -> Head:
    """How a server stands."""
    row = service.rows.servers[server]
    checkpoint = service.rows.checkpoints.get(row.head)
    if checkpoint is None:
        return Head(0, (), row.generation)
    return Head(checkpoint.number, checkpoint.roots, row.generation)
