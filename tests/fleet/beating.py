"""A thousand agents in one process that do nothing but beat, by real requests. Run as a script.

    python -m tests.fleet.beating --url URL --token TOKEN --agents N

It enrols N agents with one install token, greets for each of them with its inventory, says `beating` in a
line, and beats until its standard input ends: every other agent waits for a command as an idle one does
(long polls), the rest send heartbeats at the interval that the service gave, as a busy one does. Then it
writes a Tally as JSON and ends.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from statistics import quantiles

import httpx2

from app.wire import version
from app.wire.jsonform import decode, encode
from app.wire.messages import (
    Disk,
    Enroll,
    Enrolled,
    Filesystem,
    Inventory,
    Mount,
    Nic,
    Partition,
    Poll,
    Polled,
)

IDLE_WAIT_SECONDS = 15
"""What the real daemon asks for while it has nothing to do."""
PATIENCE_SECONDS = 60.0
ENROLLING = 16
"""Agents that enrol at the same time."""


@dataclass(frozen=True)
class Tally:
    """What became of the polls; milliseconds beyond what was asked to be waited."""

    agents: int
    enrolled_seconds: float
    seconds: float
    polls: int
    errors: dict[str, int]
    beat_p50_ms: float
    beat_p99_ms: float
    wait_p50_ms: float
    wait_p99_ms: float


@dataclass
class Fleet:
    """The agents, and what they have seen so far."""

    client: httpx2.AsyncClient
    token: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    enrolling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ENROLLING))
    errors: Counter[str] = field(default_factory=Counter)
    beats: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    async def run(self, count: int) -> Tally:
        """Enrol, beat until it is over, and sum up."""
        began = time.monotonic()
        credentials = await asyncio.gather(*(self._enroll(number) for number in range(count)))
        enrolled = time.monotonic()
        print("beating", flush=True)
        await asyncio.gather(*(self._live(number, secret) for number, secret in enumerate(credentials)))
        done = time.monotonic() - enrolled
        beats, waits = _shares(self.beats), _shares(self.waits)
        polls = len(self.beats) + len(self.waits)
        return Tally(count, enrolled - began, done, polls, dict(self.errors), *beats, *waits)

    async def _enroll(self, number: int) -> str:
        async with self.enrolling:
            message = Enroll(self.token, _instance(number), "0.1.0", inventory(number))
            answer = await self._call("/enroll", encode(message), None)
            assert answer is not None, self.errors
            credential = decode(Enrolled, answer).credential
            await self._call(
                "/poll", encode(Poll(_instance(number), "idle", 0, inventory(number))), credential
            )
            return credential

    async def _live(self, number: int, credential: str) -> None:
        heartbeat, wait = 1.0, IDLE_WAIT_SECONDS if number % 2 else 0
        message = encode(Poll(_instance(number), "idle" if wait else "syncing", wait))
        await self._pause(random.uniform(0, 10))
        while not self.over.is_set():
            began = time.monotonic()
            answer = await self._call("/poll", message, credential)
            took = (time.monotonic() - began - wait) * 1000
            (self.waits if wait else self.beats).append(took)
            if answer is not None:
                heartbeat = decode(Polled, answer).heartbeat_seconds
            if not wait:
                await self._pause(heartbeat)

    async def _call(self, path: str, body: bytes, credential: str | None) -> bytes | None:
        """The body of a good answer; anything else is counted by its code."""
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        try:
            answer = await self.client.post(f"/agent/v1{path}", content=body, headers=headers)
        except httpx2.HTTPError as error:
            self.errors[type(error).__name__] += 1
            return None
        if answer.is_success:
            return answer.content
        self.errors[f"{answer.status_code} {answer.json().get('code')}"] += 1
        return None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return


def _shares(found: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    cut = quantiles(found, n=100) if len(found) > 1 else [0.0] * 99
    return round(cut[49], 1), round(cut[98], 1)


def _instance(number: int) -> str:
    return f"simulated-{number:04}"


def inventory(number: int) -> Inventory:
    """What a small server reports: some 4 KiB of JSON."""
    partitions = tuple(
        Partition(at, at << 30, 1 << 30, "linux", uuid=f"{number}-{at}", filesystem=Filesystem("ext4"))
        for at in range(1, 6)
    )
    disk = Disk(f"serial-{number}", "/dev/sda", 6 << 30, 512, serial=f"S{number}", partitions=partitions)
    return Inventory(
        hostname=f"simulated-{number:04}",
        os_name="Debian GNU/Linux",
        os_version="12",
        kernel="6.1.0-18-amd64",
        architecture="x86_64",
        cpu_count=4,
        memory_bytes=8 << 30,
        firmware="uefi",
        disks=(disk,),
        mounts=tuple(Mount(f"/dev/sda{at}", f"/mnt/{at}", "ext4", "rw,relatime") for at in range(1, 6)),
        nics=tuple(
            Nic(f"eth{at}", f"02:00:00:00:00:{at:02x}", ("10.0.0.1/24",), 1500, "up") for at in range(3)
        ),
    )


async def _run(url: str, token: str, count: int) -> Tally:
    limits = httpx2.Limits(max_connections=2 * count, max_keepalive_connections=2 * count)
    headers = {version.HEADER: str(version.VERSION), "Content-Type": "application/json"}
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=PATIENCE_SECONDS
    ) as client:
        fleet = Fleet(client, token)
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, sys.stdin.read)
        waiting.add_done_callback(lambda _: fleet.over.set())
        return await fleet.run(count)


def main() -> None:
    """Be the fleet."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.beating")
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--agents", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(_run(asked.url, asked.token, asked.agents)))), flush=True)


if __name__ == "__main__":
    main()
