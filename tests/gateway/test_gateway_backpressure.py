"""A store that is slow makes agents slow: what they send is not piled up in the gateway."""

import os
import threading
import time
from pathlib import Path

import pytest

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.inventory.registry import collect
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.sender import PUT_BYTES
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser, SyncResult
from app.client import access
from app.contract.resources.access import InstallTokenCreate
from app.store.objects import ObjectStore
from app.store.pack import SealedPack
from app.wire.chunks import MIB
from app.wire.frames import MAX_PAYLOAD
from app.wire.messages import Enroll
from tests.services.running import Running, running

__all__ = ["running"]

SIZE = 192 * MIB
MOST_UNDER_WAY = 2 * (PUT_BYTES + MAX_PAYLOAD)
"""Two requests without an answer, each with a last frame beyond its limit; buffers on the way hold less."""


class Watcher(Observer):
    """Knows how much the pass that runs has sent."""

    disks: tuple[DiskPass, ...] = ()

    def pass_begins(self, disks: tuple[DiskPass, ...]) -> None:
        self.disks = disks

    @property
    def sent(self) -> int:
        return sum(disk.tally.counted.wire for disk in self.disks)


def enrolled(running: Running) -> Service:
    with running.client() as client:
        token = client.send(access.create_install_token(InstallTokenCreate(name="source"))).secret
    endpoint = Endpoint.parse(running.url)
    stranger = Service(Link(endpoint, Stop()))
    made = stranger.enroll(Enroll(token or "", "instance", "1.0", collect((), ())))
    stranger.link.close()
    return Service(Link(endpoint, Stop(), made.credential))


def settled(watcher: Watcher) -> int:
    """How much was sent when for two seconds nothing more was."""
    deadline, sent = time.monotonic() + 60, -1
    while sent < 24 * MIB or watcher.sent != sent:
        assert time.monotonic() < deadline, f"{sent} bytes were sent, and it still goes on"
        sent = watcher.sent
        time.sleep(2)
    return sent


def test_agents_wait_while_packs_are_written_slowly(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    write = ObjectStore.write_pack

    def slowly(store: ObjectStore, pack: SealedPack) -> None:
        may_write.wait(300)
        write(store, pack)

    monkeypatch.setattr(ObjectStore, "write_pack", slowly)
    disk = tmp_path / "disk.img"
    disk.write_bytes(os.urandom(SIZE))
    service, watcher, done = enrolled(running), Watcher(), list[SyncResult]()
    copy = Synchroniser(service, "instance", (str(disk),), Stop(), watcher, Host(Follower(tmp_path)))
    thread = threading.Thread(target=lambda: done.append(copy.run()))
    thread.start()
    try:
        assert 24 * MIB < settled(watcher) < MOST_UNDER_WAY
        assert not done
    finally:
        may_write.set()
        thread.join(120)
        service.link.close()
    assert done[0].number == 1
