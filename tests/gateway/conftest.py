"""One real service for all tests; each test gets hosts of its own, whose checkpoints must survive it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.wire.chunks import CHUNK_SIZE
from tests.gateway.hand_agent import HandAgent, exported
from tests.gateway.service import Gateway, prepare, serving, settings_in

SOURCE = random.Random(17)
OLD = {"disk-a": SOURCE.randbytes(CHUNK_SIZE) + bytes(CHUNK_SIZE) + SOURCE.randbytes(4096)}
NEW = {"disk-a": SOURCE.randbytes(2 * CHUNK_SIZE + 4096)}


def unseen() -> dict[str, bytes]:
    """A disk's content that no other host has, so that the store cannot know any of it."""
    return {"disk-a": SOURCE.randbytes(2 * CHUNK_SIZE + 4096)}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The running service."""
    settings = settings_in(tmp_path_factory.mktemp("gateway"))
    secrets = prepare(settings)
    with serving(settings, secrets) as running:
        yield running


@pytest.fixture
def host(gateway: Gateway, tmp_path: Path) -> Iterator[HandAgent]:
    """An agent with one checkpoint and an open session, to do something bad with.

    Whatever the test did: the checkpoint is still the newest one and can be exported.
    """
    agent = replicated(gateway)
    yield agent
    check_export(gateway, agent, tmp_path)


@pytest.fixture(scope="module")
def settled(gateway: Gateway) -> HandAgent:
    """The agent behind `steady`."""
    return replicated(gateway)


@pytest.fixture
def steady(gateway: Gateway, settled: HandAgent, tmp_path: Path) -> Iterator[HandAgent]:
    """Like `host`, but one for all tests of a module: what is refused changes nothing, nor its session."""
    yield settled
    check_export(gateway, settled, tmp_path)


def replicated(gateway: Gateway) -> HandAgent:
    """A new agent with a checkpoint of OLD and an open session."""
    agent = gateway.enrolled()
    agent.replicate(OLD)
    agent.open({"disk-a": len(OLD["disk-a"])})
    return agent


def check_export(gateway: Gateway, agent: HandAgent, folder: Path) -> None:
    """The newest checkpoint of the agent's server is OLD and can be exported."""
    with gateway.client() as client:
        assert exported(client, agent.server, folder) == OLD
