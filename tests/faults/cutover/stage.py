"""The stage of the crash matrix: roles api and agent apart on MariaDB and Redis, a source at work, real QEMU.

All are real processes. The service's obey the order in one file, the source's agent that in another; whoever
comes to the point of its order is killed there by SIGKILL.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL

import pymysql

from app.agent.daemon.state import StateDir
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.client import cutovers, jobs
from app.contract.cutoverwords import CutoverState
from app.contract.resources.cutover import Cutover
from app.contract.resources.job import Job
from app.contract.words import JobOperation, LifecycleState, WorkState
from app.kit.clock import SystemClock
from app.kit.settings import DatabaseSettings, RedisSettings, load_settings
from app.migration.launch.targets import target_of
from tests.e2e.bootable_source import bootable_source
from tests.e2e.cutover_scene import SECONDS, Scene, Sides, assert_whole, processes_of
from tests.e2e.deployment import Deployment, of_three_roles, run_deployment, until
from tests.e2e.source_host import SourceHost
from tests.faults.cutover.keeper import Keeper
from tests.faults.process.killable import ROOT, program
from tests.faults.process.ledger import Ledger
from tests.faults.process.orders import Order, OrderBook
from tests.launch.conftest import end_all

THAW_SECONDS = 10.0
"""For longer than this the source's program may never be kept from writing."""
SILENCE_SECONDS = 10
"""CUTOVER.STOP_SECONDS of cells in which a process stays away."""
SETTINGS = {
    "G2C_WORK__LEASE_SECONDS": "5",
    "G2C_WORK__LOOK_SECONDS": "1",
    "G2C_WORK__NODE": "here",
    "G2C_AGENT__SYNC_INTERVAL_SECONDS": "5",
    "G2C_CUTOVER__STOP_SECONDS": "90",
    "PYTHONPATH": str(ROOT),
}


@dataclass
class Stage:
    """The stage between two cells: a source that is ready for its cutover."""

    scene: Scene
    keeper: Keeper
    service_orders: OrderBook
    source_orders: OrderBook
    database: DatabaseSettings

    @property
    def deployment(self) -> Deployment:
        """The service."""
        return self.scene.deployment

    @property
    def launch(self) -> Path:
        """The node's folder of machines and volumes."""
        return self.deployment.folder / "launch"

    def sides(self) -> Sides:
        """What is looked at from outside."""
        return Sides(self.scene.source, self.launch / "runs")

    def orders_of(self, victim: str) -> OrderBook:
        """Where a process finds its orders."""
        return self.source_orders if victim == "source" else self.service_orders

    def struck(self, victim: str) -> None:
        """Wait until the order was carried out, by the victim and nobody else."""
        until(lambda: self.orders_of(victim).is_carried_out, SECONDS, f"{victim} comes to its point")
        if victim == "source":
            return
        process = self.deployment.processes.pop(victim)
        assert process.wait(SECONDS) == -SIGKILL

    def set(self, **settings: str) -> None:
        """Restart the service with other settings; the source is heard again at the end."""
        if any(self.deployment.environment.get(name) != value for name, value in settings.items()):
            self.deployment.environment.update(settings)
            self.deployment.stop()
            self.deployment.start()
            until(self.scene.is_ready, SECONDS, "the source is replicated again")

    def ordered(self) -> Job:
        """Order the cutover."""
        with self.scene.client() as client:
            return client.send(cutovers.order(self.scene.server))

    def cancel(self, job: Job) -> None:
        """Cancel a job."""
        with self.scene.client() as client:
            client.send(jobs.order(job.id, JobOperation.CANCEL))

    def reverted(self) -> None:
        """Revert, to the end."""
        with self.scene.client() as client:
            job = client.send(cutovers.revert(self.scene.server))
        self.scene.job(job, WorkState.SUCCEEDED)

    def machines(self) -> list[int]:
        """The processes of this node's machines."""
        return processes_of(self.launch / "runs")

    def assert_launched(self, sides: Sides) -> Cutover:
        """One machine, which serves all that the source acknowledged; the source keeps still."""
        made = self.scene.latest()
        assert (made.state, made.source_active) == (CutoverState.SUCCEEDED, False)
        assert (sides.machines, sides.both, self.scene.source.is_active()) == ({made.id}, [], False)
        assert (len(self.machines()), sides.most) == (1, 1)
        assert_whole(self.scene)
        return made

    def assert_back(self, sides: Sides, state: CutoverState) -> None:
        """The source runs, replication goes on, and nothing of the cutover is left."""
        assert self.scene.latest().state is state
        assert (sides.both, self.scene.source.is_active(), self.machines()) == ([], True, [])
        assert sides.most <= 1
        assert self.scene.lifecycle() is LifecycleState.READY_FOR_CUTOVER
        self.assert_nothing_left()
        told = self.scene.source.told()
        until(lambda: self.scene.source.told() > told, THAW_SECONDS, "the source writes")
        until(self.scene.is_ready, SECONDS, "replication goes on")

    def assert_nothing_left(self) -> None:
        """No machine, no volume, no hold, no lease, no slot."""
        runs = [each.name for each in (self.launch / "runs").glob("*") if each.is_dir()]
        volumes = [*self.launch.glob("volumes/*/*.raw"), *self.launch.glob("cutovers/*/*.raw")]
        assert (runs, volumes) == ([], [])
        assert self._count("source_hold WHERE standing_for IS NOT NULL") == 0
        assert self._count("job WHERE standing_for IS NOT NULL OR state IN ('PENDING', 'RUNNING')") == 0
        assert self._count("job_slot") == 0

    def _count(self, rows: str) -> int:
        settings = self.database
        assert settings.password is not None
        login = {"user": settings.user, "password": settings.password.get_secret_value()}
        with (
            pymysql.connect(host=settings.host, port=settings.port, database=settings.name, **login) as there,
            there.cursor() as cursor,
        ):
            cursor.execute(f"SELECT COUNT(*) FROM {rows}")
            found = cursor.fetchone()
        assert found is not None
        return int(found[0])

    def assert_thawed(self, since: float) -> None:
        """By the program's own clock no write of it took too long since that moment."""
        late = [each for each in self.scene.source.beats() if each.until > since]
        assert max((each.seconds for each in late), default=0.0) <= THAW_SECONDS, late

    def recover(self) -> None:
        """Whatever a cell that failed has left: the service runs, no order stands, the source is ready."""
        for book in (self.service_orders, self.source_orders):
            book.withdraw()
        self.keeper.exits.clear()
        for role, process in list(self.deployment.processes.items()):
            if process.poll() is not None:
                del self.deployment.processes[role]
        self.deployment.start()
        if self.scene.lifecycle() is LifecycleState.CUTTING_OVER:
            self._give_up()
        until(self.scene.is_ready, SECONDS, "the source is followed")

    def _give_up(self) -> None:
        latest = self.scene.latest()
        with self.scene.client() as client:
            job = client.send(jobs.get(latest.job_id))
        until(lambda: self._is_over(job), SECONDS, "the job of an earlier cell is over")
        if self.scene.lifecycle() is LifecycleState.CUTTING_OVER:
            self.reverted()

    def _is_over(self, job: Job) -> bool:
        with self.scene.client() as client:
            return client.send(jobs.get(job.id)).state not in (WorkState.PENDING, WorkState.RUNNING)


@contextmanager
def stage(folder: Path, database: DatabaseSettings, redis: RedisSettings) -> Iterator[Stage]:
    """Set it up; at the end no process, mount, loop device or trace instance of it is left."""
    service, source_orders = OrderBook(folder / "service.order"), OrderBook(folder / "source.order")
    with ExitStack() as stack:
        deployment = stack.enter_context(_deployment(folder / "service", database, redis, service))
        (folder / "source").mkdir()
        source = stack.enter_context(bootable_source(folder / "source"))
        host = _host(folder, source_orders)
        stack.callback(_forget_tracking, host)
        scene = Scene(deployment, source, host, host.enroll(deployment, source.device))
        hooks = ("--cutover-hooks", str(source.hooks), "--hooks", str(folder / "no-hooks"))
        keeper = Keeper(host, hooks, folder / "agent.log")
        stack.enter_context(keeper.keeping())
        scene.be_ready()
        yield Stage(scene, keeper, service, source_orders, database)


@contextmanager
def _deployment(
    folder: Path, database: DatabaseSettings, redis: RedisSettings, orders: OrderBook
) -> Iterator[Deployment]:
    folder.mkdir()
    planned = of_three_roles(folder, database, redis)
    environment = planned.environment | SETTINGS | dict(orders.environment)
    obeying = {role: program("service") for role in ("api", "agent")}
    try:
        yield from run_deployment(replace(planned, environment=environment, special=obeying))
    finally:
        settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
        end_all(target_of(settings.launch, SystemClock()))


def _host(folder: Path, orders: OrderBook) -> SourceHost:
    environment = dict(orders.environment) | dict(Ledger(folder / "ledger").environment)
    return SourceHost(folder / "agent", program("agent"), environment | {"PYTHONPATH": str(ROOT)})


def _forget_tracking(host: SourceHost) -> None:
    TraceTracker(StateDir(host.state).run_dir).instance.remove()


def strike(book: OrderBook, point: str) -> None:
    """Let whoever comes to the point next be killed there."""
    book.give(Order(point))


def now() -> float:
    """On the clock of the source's program."""
    return time.monotonic()
