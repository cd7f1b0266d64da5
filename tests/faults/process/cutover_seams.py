"""The named points of a cutover, hung into the service and the agent from outside.

A job's step: `before` its effect, and `after` it, when its result is not written down yet. What the agent
tells: before it counts, and when it is written and not answered yet. The machine: around its start, within
the step. The agent's hold: around each stage that it writes down, while the source is frozen for the last
time, and when the final checkpoint stands.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from app.agent.daemon.hold.record import Stage

if TYPE_CHECKING:
    from app.work.kinds import JobKind, Step

Reach = Callable[[str], None]
Call = Callable[..., Awaitable[Any]]

CONTROL: Final = ("choose", "verify", "stop", "cut", "keep", "outcome")
VOLUMES: Final = ("prepare", "precopy", "apply", "convert", "launch", "check", "prove")
"""The steps of a cutover by the process that does them: role api, role agent."""
UNDONE: Final = ("convert", "apply", "stop", "precopy", "choose")
"""Those that are undone, in this order."""
REVERT: Final = ("begin", "terminate", "release", "outcome")
FINALIZE: Final = ("require", "stop-replication", "outcome")
MACHINE: Final = "machine.launch"
TOLD: Final = ("QUIESCED", "FINAL", "HELD")
STOPPING: Final = (
    *(Stage.STOPPING, Stage.STOPPED, Stage.FINISHING, Stage.FINISHED),
    *(Stage.HOLDING, Stage.HELD),
)
STARTING: Final = (Stage.STARTING, Stage.STARTED)
FROZEN: Final = "frozen"
COMMITTED: Final = "committed"
"""The final checkpoint stands, and the agent has not taken note of that."""


def both(*points: str) -> tuple[str, ...]:
    """Before and after each."""
    return tuple(f"{point}.{when}" for point in points for when in ("before", "after"))


def steps(job: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The points of steps; `job` is the last word of the kind, or `undo`."""
    return both(*(f"{job}.{name}" for name in names))


def hang_into_service(reach: Reach) -> None:
    """Points of the roles api and agent."""
    from app.launch.qemu.driver import QemuTarget
    from app.migration.cutover import kinds

    original = kinds.cutover_kinds
    vars(kinds)["cutover_kinds"] = lambda services: tuple(_marked(kind, reach) for kind in original(services))
    _set(QemuTarget, "launch", _around(QemuTarget.launch, MACHINE, reach))
    _watch_reports(reach)


def _marked(kind: "JobKind", reach: Reach) -> "JobKind":
    job = kind.name.partition(".")[2].partition("-")[0]
    return replace(kind, steps=tuple(_step(job, step, reach) for step in kind.steps))


def _step(job: str, step: "Step", reach: Reach) -> "Step":
    undo = None if step.undo is None else _around(step.undo, f"undo.{step.name}", reach)
    return replace(step, run=_around(step.run, f"{job}.{step.name}", reach), undo=undo)


def _around(call: Call, point: str, reach: Reach) -> Call:
    async def marked(*args: Any) -> Any:
        reach(f"{point}.before")
        result = await call(*args)
        reach(f"{point}.after")
        return result

    return marked


def _watch_reports(reach: Reach) -> None:
    """What an agent says: as it comes, and when it was committed, before anybody hears of it."""
    from app.agent.gateway import hold as gateway
    from app.migration.hold import service

    take, tell = service.report, gateway._tell

    async def report(uow: Any, server: str, cutover: str, found: Any) -> Any:
        reach(f"told.{found.phase}.before")
        return await take(uow, server, cutover, found)

    async def told(services: Any, hold: Any) -> None:
        reach(f"told.{hold.reached}.after")
        await tell(services, hold)

    vars(service)["report"], vars(gateway)["_tell"] = report, told


def hang_into_agent(reach: Reach) -> None:
    """Points of the source's hold."""
    from app.agent.daemon.following import cut
    from app.agent.daemon.hold.journal import Journal
    from app.agent.daemon.service import Session

    stage = ""
    write, read, commit = Journal.write, cut._read, Session.commit

    def written(self: Any, record: Any) -> None:
        nonlocal stage
        reach(f"hold.{record.stage}.before")
        write(self, record)
        stage = record.stage
        reach(f"hold.{record.stage}.after")

    def reading(*args: Any) -> None:
        read(*args)
        if stage == Stage.FINISHING:
            reach(FROZEN)

    def committed(self: Any, message: Any) -> Any:
        answer = commit(self, message)
        if stage == Stage.FINISHING:
            reach(COMMITTED)
        return answer

    _set(Journal, "write", written)
    vars(cut)["_read"] = reading
    _set(Session, "commit", committed)


def _set(owner: type, name: str, value: Any) -> None:
    setattr(owner, name, value)
