"""Fifty agents replicate at once while a thousand others beat: nobody is refused, lost or out of memory."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.client import servers
from app.contract.words import ReplicationReason
from tests.e2e.deployment import Deployment, until
from tests.fleet.consumption import usage_of
from tests.fleet.hosts import FleetHost, hosts, stop_all

pytestmark = [pytest.mark.root, pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]

FILES, FOLLOWED, BEATING = 40, 10, 1000
ALONE_SECONDS = 20.0
ENROLLED_SECONDS = 240.0
REPLICATED_SECONDS = 300.0
MOST_MIB = 1024
"""Of one process of the service. Generous: a leak for each poll or connection is what it would find."""
TROUBLE = re.compile(r"failed|does not serve|cannot|beginning anew|no writes are followed")


@contextmanager
def beating(url: str, token: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that is a thousand agents; its standard input ends it."""
    command = [sys.executable, "-m", "tests.fleet.beating"]
    options = ["--url", url, "--token", token, "--agents", str(BEATING)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_fifty_agents_replicate_at_once_beside_a_thousand_that_beat(
    fleet_service: Deployment, tmp_path: Path
) -> None:
    token = fleet_service.install_token(FILES + FOLLOWED)
    with beating(
        fleet_service.agent_url, fleet_service.install_token(BEATING), tmp_path / "beating.log"
    ) as fleet:
        assert fleet.stdout is not None
        assert fleet.stdin is not None
        assert fleet.stdout.readline() == "beating\n", (tmp_path / "beating.log").read_text()
        alone = _cpu_share(fleet_service, ALONE_SECONDS)
        with hosts(tmp_path, FILES, FOLLOWED) as made:
            for host in made:
                host.enroll(fleet_service.agent_url, token)
            for host in made:
                host.start()
            until(lambda: all(map(_is_done, made)), REPLICATED_SECONDS, "two checkpoints of every host")
            listed = _require_all_seen(fleet_service)
            assert set(stop_all(made)) == {0}
            _require_no_trouble(made)
        fleet.stdin.close()
        tally = json.loads(fleet.stdout.readline())
        assert fleet.wait(60) == 0
    assert tally["errors"] == {}
    assert tally["polls"] > BEATING
    peaks = {role: usage_of(process.pid).peak_mib for role, process in fleet_service.processes.items()}
    assert max(peaks.values()) < MOST_MIB
    _require_no_errors(fleet_service)
    print({"alone": alone, "peak_mib": peaks, "list_seconds": listed} | tally)


def _cpu_share(service: Deployment, seconds: float) -> dict[str, float]:
    """Cores that each process of the service uses for a while."""
    before = {role: usage_of(process.pid).cpu_seconds for role, process in service.processes.items()}
    time.sleep(seconds)
    after = {role: usage_of(process.pid).cpu_seconds for role, process in service.processes.items()}
    return {role: round((after[role] - before[role]) / seconds, 3) for role in before}


def _is_done(host: FleetHost) -> bool:
    """Two checkpoints; of a disk that is followed one that shows an instant."""
    labels = host.labels
    return len(labels) >= 2 and ("frozen" in labels or not host.is_followed)


def _require_all_seen(service: Deployment) -> float:
    """Everybody beats, so everybody is seen; seconds that the list took."""
    with service.client() as client:
        began = time.monotonic()
        found = list(client.every(servers.page))
        took = time.monotonic() - began
    assert len(found) == FILES + FOLLOWED + BEATING
    lost = [each.name for each in found if each.replication_reason is ReplicationReason.AGENT_NOT_SEEN]
    assert lost == []
    assert sum(each.head_checkpoint is not None for each in found) == FILES + FOLLOWED
    return round(took, 2)


def _require_no_trouble(made: list[FleetHost]) -> None:
    """No agent met a failure, and each that follows its disk did so with a tracker of its own."""
    for host in made:
        notes = [event["text"] for event in host.events("note")]
        assert [note for note in notes if TROUBLE.search(note)] == [], host.log.read_text()
        assert "Traceback" not in host.log.read_text()
    followed = [host for host in made if host.is_followed]
    assert len({host.run_dir for host in followed}) == FOLLOWED
    assert all(set(host.labels) & {"frozen"} for host in followed)


def _require_no_errors(service: Deployment) -> None:
    for role in service.processes:
        for record in _records(service.folder / f"{role}.log"):
            assert record["log.level"] not in ("error", "critical"), record


def _records(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
