"""Fixtures of the daemon's tests: a gateway that runs, an agent's state, a synchroniser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser
from tests.daemon.fake_gateway import CREDENTIAL, FakeGateway
from tests.daemon.fake_server import serve


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway without any server."""
    made = FakeGateway()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def stop() -> Stop:
    """The signal to end."""
    return Stop()


@pytest.fixture
def service(gateway: FakeGateway, stop: Stop) -> Iterator[Service]:
    """An enrolled agent's calls."""
    link = Link(Endpoint.parse(gateway.url), stop, CREDENTIAL)
    yield Service(link)
    link.close()


@pytest.fixture
def synchroniser(service: Service, stop: Stop, tmp_path: Path) -> Callable[..., Synchroniser]:
    """Make a synchroniser of these disks, none of which is followed."""
    return lambda *paths: Synchroniser(
        service, "instance", tuple(map(str, paths)), stop, Observer(), Host(Follower(tmp_path))
    )


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Write a disk image: pieces are (offset, bytes), the rest is a hole."""

    def write(name: str, size: int, *pieces: tuple[int, bytes]) -> Path:
        path = tmp_path / name
        with path.open("wb") as out:
            out.truncate(size)
            for offset, data in pieces:
                out.seek(offset)
                out.write(data)
        return path

    return write
