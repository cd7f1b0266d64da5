"""The campaigns of a torture run: each has a service of its own and ends with a spotless store."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

from tests.faults.process import database_faults, kills, zombies
from tests.faults.process.certificates import Pinned
from tests.faults.process.commit_cutter import Moment
from tests.faults.process.database_faults import CHECKPOINT, PACK, SESSION
from tests.faults.process.kills import Change
from tests.faults.process.link_faults import link_rig
from tests.faults.process.rig import Rig, rig
from tests.faults.process.seams import AGENT_POINTS, SERVICE_POINTS
from tests.faults.process.shapes import ZOMBIE, durable_mariadb, on_mariadb, two_gateways
from tests.faults.process.stream_proxy import LOSSLESS, Harm, Plague, stream_proxy
from tests.torture.process_report import Report

Campaign = Callable[[Path, random.Random, Report, float], None]

MIB = 1 << 20
MOMENTS = 25
LINK_ROUNDS = 12
ZOMBIE_ROUNDS = 6
DATABASE_ROUNDS = 8
GATEWAY_POINTS = (
    "session.open.before",
    "session.open.after",
    "leaves.write.after",
    "pack.write.before",
    "file.write.half",
    "file.fsync.after",
    "file.rename.before",
    "pack.record.before",
    "pack.record.after",
    "roots.write.after",
    "checkpoint.write.before",
    "checkpoint.write.after",
    "commit.transaction.before",
    "commit.transaction.after",
    "database.commit.before",
    "database.commit.after",
    "checkpoint.confirm.before",
)
DAEMON_POINTS = (
    "open.after",
    "leaves.after",
    "have.before",
    "have.after",
    "signatures.after",
    "put.begin.after",
    "put.write.half",
    "put.result.before",
    "put.result.after",
    "commit.before",
)


def named_points(folder: Path, rng: random.Random, report: Report, _deadline: float) -> None:
    """Every named point of both programs once, in an order and with counts from the seed."""
    points = [*SERVICE_POINTS, *AGENT_POINTS]
    rng.shuffle(points)
    with rig(folder, rng.randrange(1 << 32)) as under_fire:
        under_fire.enroll()
        for point in points:
            change = Change(rng.randint(1, 64), blocks=rng.randint(1, 40))
            if point in SERVICE_POINTS:
                is_struck = kills.kill_service_at(under_fire, kills.service_order(point, rng), change)
            else:
                is_struck = kills.kill_agent_at(under_fire, kills.agent_order(point, rng), change)
            report.cycle("kills", point, int(is_struck))
        kills.end_service(under_fire)


def random_moments(folder: Path, rng: random.Random, report: Report, deadline: float) -> None:
    """Kills at moments that only the seed knows."""
    with _either_database(folder, rng) as under_fire:
        under_fire.enroll()
        for _ in range(MOMENTS):
            change = Change(rng.randint(1, 96), blocks=rng.randint(0, 60))
            victims = rng.choice(kills.VICTIMS)
            kills.kill_at_random(under_fire, change, rng.uniform(0.5, 4.0), victims)
            report.cycle("moments", f"{victims} killed", 2 if victims == "both" else 1)
            if time.monotonic() > deadline:
                break
        kills.end_service(under_fire)


@contextmanager
def _either_database(folder: Path, rng: random.Random) -> Iterator[Rig]:
    if rng.random() < 0.5:
        with rig(folder, rng.randrange(1 << 32)) as under_fire:
            yield under_fire
        return
    with durable_mariadb() as server:
        shape = on_mariadb(server.create_database(), server.port)
        with rig(folder, rng.randrange(1 << 32), shape=shape) as under_fire:
            yield under_fire


def plagues(folder: Path, rng: random.Random, report: Report, deadline: float) -> None:
    """Every harm of the link once, and more of them as often as there is time; with or without TLS."""
    harms = [harm for harm in Harm if harm is not Harm.NONE]
    rng.shuffle(harms)
    harms += rng.choices(harms, k=LINK_ROUNDS - len(harms))
    is_tls = rng.random() < 0.5
    with (
        _trusted_certificate(folder) if is_tls else nullcontext() as certificate,
        link_rig(folder, rng.randrange(1 << 32), certificate=certificate) as linked,
    ):
        for harm in harms:
            every = rng.choice((256 * 1024, MIB, 4 * MIB, 8 * MIB))
            rate, late = rng.choice((MIB, 4 * MIB)), rng.uniform(0.005, 0.2)
            plague = Plague(harm, every, rate, late)
            recovery = linked.suffer(plague, rng.uniform(5, 40), rng.randint(4, 96))
            strikes = 1 if harm in LOSSLESS else recovery.strikes
            report.cycle("link with TLS" if is_tls else "link", harm.value, strikes, recovery.seconds)
            if time.monotonic() > deadline:
                break


@contextmanager
def _trusted_certificate(folder: Path) -> Iterator[Pinned]:
    """A certificate that this process trusts too within the block: it asks the service past the proxy."""
    made = Pinned.make(folder)
    with patch.dict(os.environ, SSL_CERT_FILE=str(made.authority)):
        yield made


def haunting(folder: Path, rng: random.Random, report: Report, deadline: float) -> None:
    """Stopped daemons, then stopped gateways."""
    with rig(folder / "daemon", rng.randrange(1 << 32), disk_mib=16) as replicated:
        replicated.enroll()
        replicated.host.sync()
        replicated.assert_replicated(0)
        for point in rng.sample(DAEMON_POINTS, ZOMBIE_ROUNDS):
            zombies.haunt_as_daemon(replicated, point)
            replicated.assert_replicated(2)
            report.cycle("zombies", f"daemon stopped at {point}")
        assert "DUPLICATE_AGENT" in zombies.haunt_beside_a_live_one(replicated, rng.choice(DAEMON_POINTS))
        report.cycle("zombies", "daemon stopped beside a live one")
    with durable_mariadb() as server:
        shape = two_gateways(server.create_database())
        with (
            rig(folder / "gateway", rng.randrange(1 << 32), disk_mib=16, shape=shape) as made,
            stream_proxy(made.deployment.ports[ZOMBIE], rng.randrange(1 << 32)) as proxy,
        ):
            made.enroll(proxy.url)
            made.host.sync()
            made.assert_replicated(0)
            for point in rng.sample(GATEWAY_POINTS, ZOMBIE_ROUNDS):
                told = zombies.haunt_as_gateway(made, proxy, point)
                assert set(told) <= ({200} if point == "checkpoint.confirm.before" else {200, 409}), told
                report.cycle("zombies", f"gateway stopped at {point}")
                if time.monotonic() > deadline:
                    break


def database(folder: Path, rng: random.Random, report: Report, deadline: float) -> None:
    """Each fault of the database, and more kills and read-only times as often as there is time."""
    with database_faults.database_rig(folder, rng.randrange(1 << 32)) as on:
        for text, noun in ((CHECKPOINT, "checkpoint"), (PACK, "pack"), (SESSION, "session")):
            for moment in Moment:
                database_faults.cut_at_commit(on, moment, text, rng.randint(1, 48))
                report.cycle("database", f"cut {moment} COMMIT of a {noun}")
        lost = database_faults.deadlock(on, rng.randint(1, 48), rounds=4)
        report.cycle("database", "deadlocks that the service lost", lost)
        with on.rig.daemon():
            for _ in range(DATABASE_ROUNDS):
                fault = rng.choice((database_faults.kill_database, database_faults.make_read_only))
                seconds = fault(on, rng.randint(1, 96))
                report.cycle("database", fault.__name__.replace("_", " "), 1, seconds)
                if time.monotonic() > deadline:
                    break


CAMPAIGNS: dict[str, Campaign] = {
    "kills": named_points,
    "moments": random_moments,
    "link": plagues,
    "zombies": haunting,
    "database": database,
}
