"""The service as it runs: a network before it, operations in progress, a clock, crashes."""

from collections.abc import Generator
from dataclasses import dataclass, replace

from tests.faults.protocol import words
from tests.faults.protocol.collecting import Service
from tests.faults.protocol.hosts import Process
from tests.faults.protocol.journal import Journal
from tests.faults.protocol.storage import readable
from tests.faults.protocol.words import (
    COARSE,
    HOUR,
    ZERO,
    Answer,
    Operation,
    Refusal,
    Request,
)

STEPS_OF_TIME = (5, 40, 6 * HOUR, 13 * HOUR, 30 * HOUR)
MOST_COLLECTIONS = 2
MOST_BOOTS = 2
COLLECTING = 3
"""The lane of garbage collection; each agent process has one of its own."""


@dataclass(frozen=True)
class Message:
    """A request on its way, or the answer to it; `call` counts the requests of the process in this `lane`."""

    lane: int
    process: Process
    call: int
    request: Request
    answer: Answer = None


@dataclass
class Task:
    """An operation that the service is running: garbage collection has no `request`; `message` is what is
    answered."""

    lane: int
    number: int
    server: str
    request: Request | None
    operation: Operation
    message: Message | None = None
    point: str = ""


@dataclass(frozen=True)
class Ended:
    """An operation that has just ended."""

    server: str
    request: Request | None
    answer: Answer


Boot = Generator[None, None, str]
"""Reads a checkpoint in steps; returns what is wrong with it, nothing if it is whole."""


class Cluster:
    """The service, before it the network. Each method with a lane and a number is an action: it says what it
    did, or None where it cannot be done."""

    def __init__(self, service: Service, journal: Journal, is_coarse: bool) -> None:
        self.service = service
        self.journal = journal
        self.requests: list[Message] = []
        self.answers: list[Message] = []
        self.tasks: list[Task] = []
        self.boots: list[Boot] = []
        self.acting = ""
        """The server on whose behalf the last step was taken."""
        self.ended: Ended | None = None
        self.fault = ""
        self._is_coarse = is_coarse
        self._begun = 0

    # the network

    def send(self, process: Process, request: Request) -> None:
        """An agent sends a request."""
        self.requests.append(Message(process.lane, process, process.calls, request))

    def deliver(self, lane: int, number: int) -> str | None:
        """A request reaches the service."""
        message = _taken(self.requests, lane, number)
        if message is None:
            return None
        self._begin(message)
        return f"#{message.call} of {message.process.plan.name} reaches the service"

    def duplicate(self, lane: int, number: int) -> str | None:
        """A request is doubled on its way."""
        message = _taken(self.requests, lane, number)
        if message is None:
            return None
        self.requests += [message, message]
        return f"#{message.call} of {message.process.plan.name} is doubled"

    def drop(self, lane: int, number: int) -> str | None:
        """A request is lost."""
        message = _taken(self.requests, lane, number)
        if message is None:
            return None
        return f"#{message.call} of {message.process.plan.name} is lost"

    def cut(self, lane: int, number: int) -> str | None:
        """A put breaks off after some of its frames."""
        puts = [m for m in self.requests if m.lane == lane and isinstance(m.request, words.Put)]
        if not puts or not isinstance(puts[0].request, words.Put):
            return None
        message, frames = puts[0], puts[0].request.frames
        self.requests.remove(message)
        some = frames[: number % len(frames)]
        self._begin(replace(message, request=replace(puts[0].request, frames=some, breaks=True)))
        return f"#{message.call} of {message.process.plan.name} breaks off after {len(some)} frames"

    def answer(self, lane: int, number: int) -> str | None:
        """An answer reaches its agent, if that still waits for it."""
        message = _taken(self.answers, lane, number)
        if message is None:
            return None
        message.process.take(message.call, message.answer)
        return f"{message.process.plan.name} hears to #{message.call}: {message.answer!r}"

    def lose(self, lane: int, number: int) -> str | None:
        """An answer is lost."""
        message = _taken(self.answers, lane, number)
        if message is None:
            return None
        return f"the answer to #{message.call} of {message.process.plan.name} is lost: {message.answer!r}"

    # operations

    def _begin(self, message: Message) -> None:
        server, request = message.process.plan.server, message.request
        operation = self._operation(server, request)
        self._add(Task(message.lane, self._begun, server, request, operation, message))

    def _operation(self, server: str, request: Request) -> Operation:
        service = self.service
        match request:
            case words.Open():
                return service.open(server, request)
            case words.Leaves():
                return service.leaves(server, request)
            case words.Have():
                return service.have(server, request)
            case words.Put():
                return service.put(server, request)
            case words.Commit():
                return service.commit(server, request)
            case words.Poll():
                return service.poll(server, request)

    def _add(self, task: Task) -> None:
        self._begun += 1
        self.tasks.append(task)
        self.journal.begins(task.number, task.server, task.request)
        self._run(task)

    def task(self, lane: int, number: int) -> str | None:
        """An operation does what it was about to do, up to its next await point."""
        mine = [task for task in self.tasks if task.lane == lane]
        if not mine:
            return None
        task = mine[number % len(mine)]
        did = task.point
        self.journal.steps(task.number, task.point)
        self._run(task)
        return f"{self._name(task)}: {did}" + (f", done: {self.ended.answer!r}" if self.ended else "")

    def _name(self, task: Task) -> str:
        kind = type(task.request).__name__.lower() if task.request else "garbage collection"
        return f"{kind} #{task.message.call} of {task.message.process.plan.name}" if task.message else kind

    def _run(self, task: Task) -> None:
        self.acting = task.server
        try:
            task.point = next(task.operation)
            while self._is_coarse and task.point not in COARSE:
                task.point = next(task.operation)
        except StopIteration as stop:
            self._end(task, stop.value)
        except Refusal as refusal:
            self._end(task, refusal)

    def _end(self, task: Task, answer: Answer) -> None:
        self.tasks.remove(task)
        self.ended = Ended(task.server, task.request, answer)
        self.journal.ends(task.number, answer, self.service)
        if task.message is not None:
            self.answers.append(replace(task.message, answer=answer))

    def collect(self, lane: int, number: int) -> str | None:
        """Garbage collection begins."""
        if sum(task.request is None for task in self.tasks) >= MOST_COLLECTIONS:
            return None
        self._add(Task(COLLECTING, self._begun, "", None, self.service.collect_garbage()))
        return "garbage collection begins"

    def heartbeat(self, process: Process) -> str | None:
        """A running agent renews its lease, if it has it."""
        server, poll = process.plan.server, words.Poll(process.plan.instance)
        self._add(Task(process.lane, self._begun, server, poll, self._operation(server, poll)))
        return f"{process.plan.name} sends a heartbeat"

    def boot(self, lane: int, number: int) -> str | None:
        """A boot begins to read the head of a server, or reads on."""
        server = "AAB"[lane % 3]
        if number % 8 or len(self.boots) >= MOST_BOOTS:
            return self._boot_on(number)
        self.boots.append(self._boot(server))
        return f"a boot of the head of {server} begins"

    def _boot_on(self, number: int) -> str | None:
        if not self.boots:
            return None
        reading = self.boots[number % len(self.boots)]
        try:
            next(reading)
        except StopIteration as stop:
            self.boots.remove(reading)
            self.fault = stop.value
            return "a boot has read all"
        return "a boot reads on"

    def _boot(self, server: str) -> Boot:
        """Only what hangs below one checkpoint's roots is read, whatever the head becomes meanwhile."""
        rows, store = self.service.rows, self.service.store
        row = rows.checkpoints.get(rows.servers[server].head)
        if row is None:
            return ""
        for value in (value for root in row.roots for leaf in root for value in leaf):
            yield
            if value != ZERO and not readable(rows, store, value) and row.id in rows.checkpoints:
                return f"I6: a boot of retained checkpoint {row.id} cannot read chunk {value}"
        return ""

    # the process and its time

    def crash(self, lane: int, number: int) -> str | None:
        """The service dies and starts again."""
        self.tasks.clear()
        self.boots.clear()
        self.service.crash()
        self.journal.crashes()
        return "the service crashes"

    def flush(self, lane: int, number: int) -> str | None:
        """The kernel writes its cache back."""
        return "the cache is written back" if self.service.store.flush() else None

    def tick(self, lane: int, number: int) -> str:
        """Time passes, whatever is under way: every operation may have been paused."""
        step = STEPS_OF_TIME[number % len(STEPS_OF_TIME)]
        self.service.now += step
        self.journal.passes(step)
        return f"{step} s pass"


def _taken(messages: list[Message], lane: int, number: int) -> Message | None:
    mine = [message for message in messages if message.lane == lane]
    if not mine:
        return None
    message = mine[number % len(mine)]
    messages.remove(message)
    return message
