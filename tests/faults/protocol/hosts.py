"""The source hosts: disks, and the agent processes that run on them, are killed, stopped and continued."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.faults.protocol.agent import Agent, Life
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.scenario import AgentPlan, Scenario
from tests.faults.protocol.source import Source
from tests.faults.protocol.words import HOUR, Answer, Request

YEAR: Final = 365 * 24 * HOUR
SKEWS: Final = (-20 * YEAR, -HOUR, -30, 0, 30, HOUR, 20 * YEAR)
"""Seconds by which a source's clock is ahead of the service's."""


@dataclass
class Process:
    """An agent process: running while it has a `life`, perhaps `stopped` (SIGSTOP), perhaps waiting.

    `calls` counts its requests over all lives; `answer` is what came for the one that it waits for.
    """

    lane: int
    plan: AgentPlan
    agent: Agent
    life: Life[None] | None = None
    stopped: bool = False
    calls: int = 0
    waits: bool = False
    answer: tuple[Answer] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it can take a step."""
        return self.life is not None and not self.stopped and (not self.waits or self.answer is not None)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for an answer that did not come yet."""
        return self.life is not None and self.waits and self.answer is None

    def take(self, call: int, answer: Answer) -> bool:
        """An answer arrives; False for one that nobody waits for."""
        fits = self.is_waiting and self.calls == call
        if fits:
            self.answer = (answer,)
        return fits

    def step(self) -> Request | None:
        """One step of its life; the request that it sends, if it does."""
        assert self.life is not None
        answer = self.answer[0] if self.answer is not None else None
        self.waits, self.answer = False, None
        request = self.life.send(answer)
        if request is not None:
            self.calls += 1
            self.waits = True
        return request

    def kill(self) -> None:
        """SIGKILL."""
        self.life, self.waits, self.answer, self.stopped = None, False, None, False
        self.agent.stop()


Send = Callable[[Process, Request], None]


class Hosts:
    """Sources and processes; each method is an action that says what it did, or None where it cannot be."""

    def __init__(self, plan: Scenario, clock: Callable[[], int], mutant: Mutant | None, send: Send) -> None:
        self.sources = {
            name: Source(leaves, list(plan.initial[name]), mutant) for name, leaves in plan.shape.items()
        }
        self.processes = [self._process(lane, each, clock, mutant) for lane, each in enumerate(plan.agents)]
        self._values = plan.values
        self._send = send

    def _process(
        self, lane: int, plan: AgentPlan, clock: Callable[[], int], mutant: Mutant | None
    ) -> Process:
        source = self.sources[plan.server]
        agent = Agent(
            plan.name, plan.instance, source, plan.options, lambda: clock() + source.clock_skew, mutant
        )
        return Process(lane, plan, agent, agent.life() if plan.runs else None)

    def _chosen(self, lane: int, fits: Callable[[Process], bool]) -> Process | None:
        if lane >= len(self.processes) or not fits(self.processes[lane]):
            return None
        return self.processes[lane]

    def _source(self, lane: int) -> tuple[str, Source]:
        server = self.processes[lane % len(self.processes)].plan.server
        return server, self.sources[server]

    # disks

    def write(self, lane: int, number: int) -> str | None:
        """A write is issued."""
        server, source = self._source(lane)
        values = self._values[server]
        position, value = number // len(values) % source.size, values[number % len(values)]
        issued = source.issue(position, value)
        return f"a write of {value} to {server}[{position}] is issued" if issued else None

    def land(self, lane: int, number: int) -> str | None:
        """A write lands, or completes."""
        server, source = self._source(lane)
        pending = [f"[{write.position}]={write.value}" for write in source.pending]
        moved = source.advance(number)
        return f"{server}{pending[number % len(pending)]} lands or completes" if moved else None

    def set_clock(self, lane: int, number: int) -> str:
        """The source's clock jumps."""
        server, source = self._source(lane)
        source.clock_skew = SKEWS[number % len(SKEWS)]
        return f"the clock of {server} is {source.clock_skew} s ahead of the service's"

    def dead_man(self, lane: int, number: int) -> str | None:
        """The freezer's timer thaws."""
        server, source = self._source(lane)
        return f"the freezer's timer thaws {server}" if source.dead_man() else None

    def overrun(self, lane: int, number: int) -> str | None:
        """A tracker loses its next event."""
        process = self._chosen(lane, lambda p: p.life is not None and p.plan.options.is_tracked)
        tracker = self.sources[process.plan.server].trackers.get(process.plan.name) if process else None
        if process is None or tracker is None:
            return None
        tracker.deaf = True
        return f"the tracker of {process.plan.name} will lose an event"

    # processes

    def agent(self, lane: int, number: int) -> str | None:
        """An agent takes a step."""
        process = self._chosen(lane, lambda p: p.is_ready)
        if process is None:
            return None
        request = process.step()
        if request is None:
            return f"{process.plan.name} takes a local step"
        self._send(process, request)
        return f"{process.plan.name} sends #{process.calls} {request}"

    def timeout(self, lane: int, number: int) -> str | None:
        """An agent gives up waiting."""
        process = self._chosen(lane, lambda p: p.is_waiting and not p.stopped)
        if process is None:
            return None
        process.take(process.calls, None)
        return f"{process.plan.name} gives up waiting for #{process.calls}"

    def kill(self, lane: int, number: int) -> str | None:
        """SIGKILL."""
        process = self._chosen(lane, lambda p: p.life is not None)
        if process is None:
            return None
        process.kill()
        return f"{process.plan.name} is killed"

    def start(self, lane: int, number: int) -> str | None:
        """A process starts, or starts again."""
        process = self._chosen(lane, lambda p: p.life is None)
        if process is None:
            return None
        process.life = process.agent.life()
        return f"{process.plan.name} starts"

    def stop(self, lane: int, number: int) -> str | None:
        """SIGSTOP."""
        process = self._chosen(lane, lambda p: p.life is not None and not p.stopped)
        if process is None:
            return None
        process.stopped = True
        return f"{process.plan.name} is stopped"

    def resume(self, lane: int, number: int) -> str | None:
        """SIGCONT."""
        process = self._chosen(lane, lambda p: p.stopped)
        if process is None:
            return None
        process.stopped = False
        return f"{process.plan.name} goes on"
