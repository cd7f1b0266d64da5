"""A real Redis server of our own on the loopback address."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from app.kit.settings import RedisSettings
from tests.services.processes import Service, free_port, required_binary

PACKAGE = "redis-server"
PASSWORD = "0123456"


class RedisServer:
    """The server; tests may stop it and start it again."""

    def __init__(self, service: Service, port: int) -> None:
        """A server that will answer on `port`."""
        self.service = service
        self.port = port

    def settings(self) -> RedisSettings:
        """How to reach it."""
        return RedisSettings("127.0.0.1", self.port, SecretStr(PASSWORD))

    def empty(self) -> None:
        """Forget all keys."""
        with redis.Redis(port=self.port, password=PASSWORD) as client:
            client.flushall()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis server, stopped at the end of the tests. A test that stops it starts it again."""
    with redis_listening(tmp_path_factory.mktemp("redis"), "127.0.0.1") as server:
        yield server


@contextmanager
def redis_listening(folder: Path, *addresses: str) -> Iterator[RedisServer]:
    """A running Redis server at these addresses, stopped at the end."""
    port = free_port()
    arguments = [required_binary("redis-server", PACKAGE), "--bind", *addresses, "--port", str(port)]
    arguments += ["--save", "", "--appendonly", "no", "--dir", str(folder), "--requirepass", PASSWORD]
    server = RedisServer(Service(arguments, folder / "redis.log", lambda: _answers(port)), port)
    server.service.start()
    try:
        yield server
    finally:
        server.service.stop()


@pytest.fixture
def redis_settings(redis_server: RedisServer) -> RedisSettings:
    """The settings of a running, empty Redis server."""
    redis_server.empty()
    return redis_server.settings()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
