"""A real Redis with a replica and three sentinels, on the loopback address."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from app.kit.settings import RedisSettings
from tests.services.processes import START_SECONDS, Service, free_port, required_binary

NAME = "events"
PASSWORD = "0123456"
QUORUM, SENTINELS = 2, 3


@dataclass(frozen=True)
class Sentinels:
    """The sentinels, and the servers by their ports."""

    ports: tuple[int, ...]
    servers: dict[int, Service]

    def settings(self) -> RedisSettings:
        """How a service reaches the master."""
        addresses = tuple(("127.0.0.1", port) for port in self.ports)
        return RedisSettings(password=SecretStr(PASSWORD), sentinels=addresses, sentinel_name=NAME)

    def master(self) -> int:
        """The port of the master, as the first sentinel sees it."""
        with redis.Redis(port=self.ports[0], decode_responses=True) as client:
            _, port = client.sentinel_get_master_addr_by_name(NAME)
        return int(port)

    def kill_master(self) -> None:
        """End the master as a power cut would; the sentinels make the replica the master."""
        self.servers[self.master()].kill()


@pytest.fixture
def redis_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A master, its replica and the sentinels, which know each other; ended after the test."""
    first, second = free_port(), free_port()
    servers = {first: _server(tmp_path, first), second: _server(tmp_path, second, master=first)}
    ports = tuple(free_port() for _ in range(SENTINELS))
    sentinels = [_sentinel(tmp_path, port, first) for port in ports]
    started = [*servers.values(), *sentinels]
    try:
        for each in started:
            each.start()
        _wait_for_each_other(ports)
        yield Sentinels(ports, servers)
    finally:
        for each in started:
            each.kill()


def _server(folder: Path, port: int, master: int | None = None) -> Service:
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    options += ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
    if master is not None:
        options += ["--replicaof", "127.0.0.1", str(master)]
    arguments = [required_binary("redis-server", "redis-server"), *options]
    return Service(arguments, folder / f"redis-{port}.log", lambda: _role(port) is not None)


def _sentinel(folder: Path, port: int, master: int) -> Service:
    conf = folder / f"sentinel-{port}.conf"
    conf.write_text(f"""port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {NAME} 127.0.0.1 {master} {QUORUM}
sentinel auth-pass {NAME} {PASSWORD}
sentinel down-after-milliseconds {NAME} 1000
sentinel failover-timeout {NAME} 3000
""")
    arguments = [required_binary("redis-server", "redis-server"), str(conf), "--sentinel"]
    return Service(arguments, folder / f"sentinel-{port}.log", lambda: _answers(port))


def _wait_for_each_other(ports: tuple[int, ...]) -> None:
    """A failover needs sentinels that know the replica and each other."""
    deadline = time.monotonic() + START_SECONDS
    while not all(_knows_all(port) for port in ports):
        assert time.monotonic() < deadline, "the sentinels do not find each other"
        time.sleep(0.1)


def _knows_all(port: int) -> bool:
    with redis.Redis(port=port, decode_responses=True) as client:
        found = client.sentinel_master(NAME)
    return (found["num-slaves"], found["num-other-sentinels"]) == (1, SENTINELS - 1)


def _role(port: int) -> str | None:
    try:
        with redis.Redis(port=port, password=PASSWORD, decode_responses=True) as client:
            return str(client.role()[0])
    except redis.RedisError:
        return None


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
