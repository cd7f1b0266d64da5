"""Rounds in which the database dies, is cut off at COMMIT, turns read-only, or makes others deadlock.

After each of them no acknowledged checkpoint is lost, none is there twice, and work goes on within seconds.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from app.client import servers
from app.kit.settings import DatabaseSettings
from tests.e2e.deployment import until
from tests.faults.process.commit_cutter import CommitCutter, Moment
from tests.faults.process.link_faults import root_of
from tests.faults.process.rig import Rig, rig
from tests.faults.process.shapes import durable_mariadb, on_mariadb
from tests.faults.process.stream_proxy import stream_proxy
from tests.services.mariadb_server import MariaDb

RESUMED_SECONDS = 5.0
IN_SYNC_SECONDS = 60.0
HEAVY_ROWS = 3000
"""InnoDB ends the lighter of two transactions that deadlock: with so many rows it is the service's."""

CHECKPOINT = b"INSERT INTO checkpoint "
PACK = b"INSERT INTO pack "
SESSION = b"INSERT INTO session "


@dataclass
class DatabaseRig:
    """A rig on a MariaDB server of its own, which it may reach through a cutter."""

    rig: Rig
    server: MariaDb
    database: DatabaseSettings
    cutter: CommitCutter

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, asked as the server's administrator."""
        (rows,) = self.ask_at_once(query)
        return rows

    def ask_at_once(self, *queries: str) -> list[list[tuple[Any, ...]]]:
        """The rows of several queries at one instant."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            found = []
            for query in queries:
                cursor.execute(query)
                found.append(list(cursor.fetchall()))
            return found

    def _connect(self) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user="root", database=self.database.name, autocommit=True
        )

    def assert_one_history(self) -> None:
        """Every checkpoint that an agent was told of exists, and they are one line without doubles."""
        acknowledged = self._acknowledged()
        rows, heads = self.ask_at_once(
            "SELECT id, number, parent_id, generation FROM checkpoint ORDER BY number",
            "SELECT head_checkpoint_id FROM server",
        )
        ids = [row[0] for row in rows]
        lost = [told for told in acknowledged if told not in ids]
        assert not lost, f"acknowledged and lost: {lost}"
        assert [row[1] for row in rows] == list(range(1, len(rows) + 1)), "the numbers are not in a line"
        assert [row[2] for row in rows] == [None, *ids[:-1]], "a checkpoint does not stand on the one before"
        generations = [row[3] for row in rows]
        assert len(set(generations)) == len(generations), "one session made two checkpoints"
        assert heads == [(ids[-1],)], "the head is not the newest checkpoint"

    def _acknowledged(self) -> list[str]:
        lines = (self.rig.folder / "agent.log").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [str(event["checkpoint"]) for event in said if event["event"] == "summary"]

    def settle(self, faults: int) -> None:
        """Wait until the replica is the source, and judge the round."""
        wanted = root_of(self.rig.disk)
        until(lambda: self._head_is(wanted), IN_SYNC_SECONDS, f"in sync: {self.rig.agents[-1].tail()}")
        self.rig.assert_replicated(faults)
        self.assert_one_history()

    def _head_is(self, wanted: bytes) -> bool:
        with self.rig.deployment.client() as client:
            head = client.send(servers.checkpoint(self.rig.server, servers.LATEST))
        return [disk.root for disk in head.disks] == [wanted.hex()]

    def seconds_to_resume(self) -> float:
        """How long until replication writes something again. Fails beyond `RESUMED_SECONDS`."""
        start, before = time.monotonic(), self._work_done()
        until(lambda: self._work_done() != before, RESUMED_SECONDS, "replication goes on")
        return time.monotonic() - start

    def _work_done(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT (SELECT COUNT(*) FROM session), (SELECT COUNT(*) FROM pack), (SELECT COUNT(*) FROM node),"
            " (SELECT COUNT(*) FROM checkpoint)"
        )


@contextmanager
def database_rig(folder: Path, seed: int) -> Iterator[DatabaseRig]:
    """A replicated host whose service reaches its database through a proxy that can cut at COMMIT."""
    cutter = CommitCutter()
    with durable_mariadb() as server, stream_proxy(server.port, seed, cutter.watch) as proxy:
        database = server.create_database()
        with rig(folder, seed, disk_mib=24, shape=on_mariadb(database, proxy.port)) as made:
            made.enroll()
            assert made.start_agent("--once").wait() == 0
            made.assert_replicated(0)
            yield DatabaseRig(made, server, database, cutter)


def kill_database(on: DatabaseRig, chunks: int) -> float:
    """The database is killed while a daemon replicates, and comes back after a while; seconds to resume."""
    rig = on.rig
    rig.change(chunks, blocks=4)
    time.sleep(rig.rng.uniform(0.3, 1.5))
    on.server.service.kill()
    time.sleep(rig.rng.uniform(0.1, 3.0))
    on.server.service.start()
    seconds = on.seconds_to_resume()
    on.settle((rig.ledger.read() - rig.before).lost)
    return seconds


def make_read_only(on: DatabaseRig, chunks: int) -> float:
    """The database takes no write for some seconds while a daemon replicates; seconds to resume."""
    rig = on.rig
    on.server.execute("SET GLOBAL read_only = 1")
    try:
        rig.change(chunks, blocks=4)
        time.sleep(rig.rng.uniform(2.0, 4.0))
        frozen = on.ask("SELECT COUNT(*) FROM checkpoint")
        time.sleep(0.5)
        assert on.ask("SELECT COUNT(*) FROM checkpoint") == frozen
    finally:
        on.server.execute("SET GLOBAL read_only = 0")
    seconds = on.seconds_to_resume()
    on.settle((rig.ledger.read() - rig.before).lost)
    return seconds


def cut_at_commit(on: DatabaseRig, moment: Moment, text: bytes, chunks: int) -> None:
    """One replication, in which the connection is cut at the COMMIT of a transaction with `text`."""
    rig, before = on.rig, on.cutter.cuts
    rig.change(chunks, blocks=4)
    checkpoints = on.ask("SELECT COUNT(*) FROM checkpoint")[0][0]
    on.cutter.arm(moment, text)
    agent = rig.start_agent("--once")
    assert agent.wait() == 0, agent.tail()
    assert on.cutter.cuts == before + 1, f"no COMMIT was cut {moment} for {text!r}"
    rig.assert_replicated(1)
    on.assert_one_history()
    assert on.ask("SELECT COUNT(*) FROM checkpoint")[0][0] == checkpoints + 1


def deadlock(on: DatabaseRig, chunks: int, rounds: int) -> int:
    """Replications while a rival takes the same locks in the other order, until the service gave way or the
    rounds are over; how often it gave way."""
    rig, lost = on.rig, 0
    with _rival(on) as rival:
        while rounds and not lost:
            rounds -= 1
            rig.change(chunks, blocks=4)
            agent = rig.start_agent("--once")
            assert agent.wait() == 0, agent.tail()
            rig.assert_replicated(0)
            on.assert_one_history()
            lost = int(on.ask("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1]) - rival.victim
    return lost


@dataclass
class _Rival:
    """A connection that locks packs, then nodes, then servers; a commit begins with the server."""

    on: DatabaseRig
    victim: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = self.on._connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS weight (n INT PRIMARY KEY)")
            while not self.over.is_set():
                try:
                    self._lock(cursor)
                except pymysql.err.OperationalError as error:
                    self.victim += error.args[0] == 1213
                cursor.execute("ROLLBACK")
                self.over.wait(0.05)

    def _lock(self, cursor: Any) -> None:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO weight VALUES " + ",".join(f"({n})" for n in range(HEAVY_ROWS)))
        for table in ("pack", "node"):
            cursor.execute(f"SELECT name FROM {table} FOR UPDATE")
        self.over.wait(0.3)
        cursor.execute("SELECT id FROM server FOR UPDATE")


@contextmanager
def _rival(on: DatabaseRig) -> Iterator[_Rival]:
    rival = _Rival(on)
    thread = threading.Thread(target=rival.run, name="rival", daemon=True)
    thread.start()
    try:
        yield rival
    finally:
        rival.over.set()
        thread.join()
