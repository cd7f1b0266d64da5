"""Rounds in which the network between the agent and the service fails and is healed.

The agent runs as a daemon that synchronises every second and is never touched. While a plague lasts the disk
changes; after the healing the replica must be the source within `HEALED_SECONDS`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.client import servers
from app.client.errors import ClientError
from app.wire.chunks import chunk_length, name_of
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, leaf_hash
from tests.e2e.deployment import until
from tests.faults.process.certificates import Pinned
from tests.faults.process.rig import CHUNK, IN_FLIGHT, MIB, Rig, rig
from tests.faults.process.stream_proxy import LOSSLESS, Harm, Plague, StreamProxy, stream_proxy

HEALED_SECONDS = 30.0


@dataclass(frozen=True)
class Recovery:
    """How a round went: strikes of the proxy, puts that were lost, seconds from the healing to in sync."""

    harm: Harm
    strikes: int
    lost: int
    seconds: float

    def __str__(self) -> str:
        """For the closing report."""
        return (
            f"{self.harm}: {self.strikes} strikes, {self.lost} puts lost, in sync {self.seconds:.1f} s later"
        )


@dataclass
class LinkRig:
    """A rig whose agent goes through a proxy."""

    rig: Rig
    proxy: StreamProxy

    def suffer(self, plague: Plague, seconds: float, chunks: int) -> Recovery:
        """One round: the disk changes and is replicated until the plague struck several times, or time is up.

        Fails when the replica is not the source in time, or too much was sent again.
        """
        before = self.proxy.strikes
        self.proxy.inflict(plague)
        wanted = self._work(chunks)
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not self._is_over(plague, before, wanted):
            if self.is_in_sync(wanted):
                wanted = self._work(chunks)
            time.sleep(0.2)
        self.proxy.heal()
        return self._recover(plague.harm, before, wanted)

    def _work(self, chunks: int) -> bytes:
        """Change the disk and order a checkpoint, past the proxy; the root that it must have."""
        self.rig.change(chunks, blocks=4)
        with self.rig.deployment.client() as client:
            client.send(servers.sync(self.rig.server))
        return root_of(self.rig.disk)

    def _is_over(self, plague: Plague, before: int, wanted: bytes) -> bool:
        """A harm that loses nothing is endured to the end; of others several strikes are enough."""
        if plague.harm in LOSSLESS:
            return self.is_in_sync(wanted)
        return self.proxy.strikes >= before + 3

    def _recover(self, harm: Harm, before: int, wanted: bytes) -> Recovery:
        healed = time.monotonic()
        until(lambda: self.is_in_sync(wanted), HEALED_SECONDS, f"in sync after {harm}: {self._said()}")
        seconds = time.monotonic() - healed
        lost = (self.rig.ledger.read() - self.rig.before).lost
        assert not (harm in LOSSLESS and lost), f"{harm} lost {lost} puts"
        self.rig.assert_replicated(lost)
        return Recovery(harm, self.proxy.strikes - before, lost, seconds)

    def _said(self) -> str:
        return self.rig.agents[-1].tail()

    def is_in_sync(self, wanted: bytes) -> bool:
        """Whether the head's root is this one; asked past the proxy."""
        try:
            with self.rig.deployment.client() as client:
                head = client.send(servers.checkpoint(self.rig.server, servers.LATEST))
        except ClientError:
            return False
        return [disk.root for disk in head.disks] == [wanted.hex()]


def root_of(disk: Path) -> bytes:
    """The root of a disk's content, computed here."""
    size = disk.stat().st_size
    leaves = []
    with disk.open("rb") as file:
        for first in range(0, -(-size // CHUNK), LEAF_IDS):
            last = min(first + LEAF_IDS, -(-size // CHUNK))
            ids = b"".join(name_of(file.read(chunk_length(at, size, CHUNK))) for at in range(first, last))
            leaves.append(leaf_hash(ids.ljust(LEAF_BYTES, b"\0")))
    return RootNode(size, CHUNK, b"".join(leaves)).hash


@contextmanager
def link_rig(
    folder: Path, seed: int, disk_mib: int = 32, certificate: Pinned | None = None
) -> Iterator[LinkRig]:
    """A service, a proxy, and an agent in the background that is in sync; on TLS with a certificate."""
    settings = certificate.settings if certificate else {}
    with (
        rig(folder, seed, disk_mib=disk_mib, settings=settings) as made,
        stream_proxy(made.deployment.ports["all"], seed) as proxy,
    ):
        scheme = "https" if certificate else "http"
        made.enroll(f"{scheme}://127.0.0.1:{proxy.port}")
        made.start_agent()
        linked = LinkRig(made, proxy)
        wanted = root_of(made.disk)
        until(lambda: linked.is_in_sync(wanted), 60, "the first checkpoint")
        made.assert_replicated(0)
        yield linked
        assert not made.agents[-1].has_ended, f"the agent ended: {made.agents[-1].tail()}"


__all__ = ["IN_FLIGHT", "MIB", "Harm", "LinkRig", "Plague", "Recovery", "link_rig"]
