"""A full store: named to agent and operator, nothing half-written, and over when there is room again."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from app.client.transport import Client
from app.wire.messages import Committed
from tests.gateway.conftest import NEW, OLD
from tests.gateway.hand_agent import HandAgent, exported, shown
from tests.gateway.service import Gateway, Secrets, prepare, serving, settings_in

Serve = Callable[[int], AbstractContextManager[Gateway]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts the service with this many bytes of the disk reserved; always on the same data."""
    secrets: Secrets = prepare(settings_in(tmp_path))

    def start(reserve: int) -> AbstractContextManager[Gateway]:
        return serving(settings_in(tmp_path, reserve_bytes=str(reserve)), secrets)

    return start


def state_of(client: Client, agent: HandAgent) -> tuple[str, str | None]:
    """What the server's page says of its replication."""
    server = shown(client, agent.server)
    return server.replication_state, server.replication_reason


def moved(agent: HandAgent, gateway: Gateway) -> HandAgent:
    """The same agent when the service came back on another port."""
    return HandAgent(type(agent.caller)(gateway.port, agent.caller.credential), agent.server, agent.instance)


def test_a_full_store_is_named_survived_and_recovered_from(serve: Serve, tmp_path: Path) -> None:
    with serve(0) as gateway:
        agent = gateway.enrolled()
        agent.replicate(OLD)
    everything = shutil.disk_usage(tmp_path).total * 2
    with serve(everything) as gateway, gateway.client() as client:
        full = moved(agent, gateway)
        check_that_it_is_full(full, client, tmp_path)
    with serve(0) as gateway, gateway.client() as client:
        recovered = moved(agent, gateway)
        assert state_of(client, recovered) == ("STALLED", "STORE_FULL")
        assert recovered.replicate(NEW).number == 2
        assert state_of(client, recovered) == ("CONTINUOUS", None)
        assert exported(client, agent.server, tmp_path) == NEW


def check_that_it_is_full(agent: HandAgent, client: Client, folder: Path) -> None:
    """Puts are refused, what needs no room goes on, the last checkpoint can be read."""
    agent.open({"disk-a": len(NEW["disk-a"])})
    for put in (partial(agent.put_disk, NEW["disk-a"]), partial(agent.put_disk, NEW["disk-a"])):
        with pytest.raises(AssertionError, match="STORE_FULL"):
            put()
    assert state_of(client, agent) == ("STALLED", "STORE_FULL")
    packs = list((folder / "store" / "packs").rglob("*.pack"))
    assert packs == [path for path in packs if path.stat().st_size > 0]
    assert not [
        path for path in (folder / "store" / ".tmp").rglob("*") if path.is_file() and path.stat().st_size
    ]
    assert agent.try_commit(agent.message(NEW)).refusal == (409, "MISSING_LEAVES")
    assert exported(client, agent.server, folder) == OLD
    unchanged(agent)
    assert state_of(client, agent)[0] == "STALLED"


def unchanged(agent: HandAgent) -> None:
    """Asking and comparing need no room."""
    path = agent.path(f"/disks/{agent.session.disks[0].disk_id}/leaves?start=0&count=1")
    assert agent.caller.call("GET", path).status == 200
    assert agent.caller.call("POST", agent.path("/have"), bytes(32)).status == 200


def test_a_commit_that_needs_no_room_still_passes(serve: Serve, tmp_path: Path) -> None:
    with serve(0) as gateway:
        agent = gateway.enrolled()
        agent.replicate(OLD)
    with serve(shutil.disk_usage(tmp_path).total * 2) as gateway, gateway.client() as client:
        full = moved(agent, gateway)
        full.open({"disk-a": len(OLD["disk-a"])})
        committed = full.try_commit(full.message(OLD)).good(Committed)
        assert committed.number == 2
        assert state_of(client, full) == ("CONTINUOUS", None)
