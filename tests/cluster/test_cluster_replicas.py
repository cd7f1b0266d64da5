"""Replicas are killed, a node of the database and the master of Redis die: nothing is lost or done twice."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.contract.words import WorkState
from app.kit.bus import InProcessBus
from app.kit.clock import SystemClock
from app.kit.database import Database, UnitOfWork
from app.kit.ratewindows import RateCalendar
from app.work.jobs import Jobs, Order
from app.work.kinds import Kinds
from app.work.tables import JobRow, JobStepRow
from tests.cluster.conftest import Cluster
from tests.cluster.marking import KIND, STEPS, kind
from tests.cluster.moving import busy, log_of, require_moved
from tests.e2e.deployment import until
from tests.e2e.paces import set_pace
from tests.e2e.replica import assert_identical, head_of, random_disk
from tests.e2e.source_host import SourceHost

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(600)]

MIB = 1 << 20
JOBS = 500
KILLS = 6
SECONDS = 300
SEED = 20266


async def _order(cluster: Cluster) -> None:
    """Enqueue the jobs, fifty in a transaction."""
    database = Database.connect(cluster.database, SystemClock())
    jobs = Jobs(InProcessBus(), Kinds(kind()))

    async def enqueue(uow: UnitOfWork) -> None:
        for _ in range(50):
            await jobs.enqueue(uow, KIND, Order("prj-test"))

    for _ in range(JOBS // 50):
        await database.run(enqueue)
    await database.close()


async def _states(cluster: Cluster, table: type[JobRow] | type[JobStepRow]) -> dict[str, int]:
    database = Database.connect(cluster.database, SystemClock())
    async with database.reading() as uow:
        rows = await uow.session.execute(select(table.state, func.count()).group_by(table.state))
        found = {str(state): int(count) for state, count in rows}
    await database.close()
    return found


def _succeeded(cluster: Cluster) -> int:
    return asyncio.run(_states(cluster, JobRow)).get(WorkState.SUCCEEDED, 0)


def _kill_one(cluster: Cluster, rng: random.Random) -> None:
    name = rng.choice(("api", "api.2", "agent", "agent.2"))
    cluster.deployment.kill(name)
    cluster.deployment.start()


def test_five_hundred_jobs_are_each_done_once_while_replicas_are_killed(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    asyncio.run(_order(cluster))
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.1, 1.5))
        _kill_one(cluster, rng)
    until(lambda: _succeeded(cluster) == JOBS, SECONDS, f"{JOBS} jobs succeeded")
    assert asyncio.run(_states(cluster, JobStepRow)) == {WorkState.SUCCEEDED: JOBS * STEPS}
    assert len([path for path in cluster.marks.iterdir() if path.name[0] != "."]) == JOBS * STEPS


def test_a_session_moves_from_the_replica_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """Twice, with a host each time, whose requests go to both replicas until one of them is killed."""
    set_pace(cluster.deployment, RateCalendar(8 * MIB))
    for number in range(2):
        disk = random_disk(tmp_path / f"disk-{number}.img", 64 * MIB)
        host = SourceHost(tmp_path / f"source-{number}")
        server = host.enroll(cluster.deployment, disk, url=cluster.agents.url)
        logs = {name: log_of(cluster.deployment, name) for name in ("agent", "agent.2")}
        began = time.time()
        with host.running("--once") as agent:
            victim, session = busy(logs, began)
            killed = time.time()
            cluster.deployment.kill(victim)
            (living,) = logs.keys() - {victim}
            require_moved(logs[living], session, killed)
            output, _ = agent.communicate(timeout=SECONDS)
        assert agent.returncode == 0, output
        cluster.deployment.start()
        assert_identical(cluster.deployment, server, disk)


def test_a_host_goes_on_replicating_while_what_the_service_stands_on_dies(
    cluster: Cluster, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 100 * MIB)
    host = SourceHost(tmp_path / "source")
    server = host.enroll(cluster.deployment, disk, url=cluster.agents.url)
    host.sync()

    def goes_on(what: str) -> None:
        before = head_of(cluster.deployment, server).number
        with disk.open("r+b") as file:
            file.seek(random.randrange(99 * MIB))
            file.write(os.urandom(MIB))
        with cluster.deployment.client() as client:
            from app.client import servers

            client.send(servers.sync(server))
        until(lambda: head_of(cluster.deployment, server).number > before, SECONDS, f"a checkpoint {what}")

    with host.running():
        goes_on("before anything dies")
        cluster.sentinels.kill_master()
        goes_on("after the Redis master was killed")
        cluster.deployment.kill("agent")
        goes_on("after a replica of the agent tier was killed")
        cluster.deployment.start()
        cluster.galera.nodes[0].service.kill()
        goes_on("after a node of the database was killed")
    assert_identical(cluster.deployment, server, disk)
