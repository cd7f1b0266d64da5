"""Choosing how hard to compress, in simulated circumstances."""

import random
import socket
import threading
from dataclasses import dataclass, replace

import pytest

from app.agent.daemon.link.congestion import network_seconds
from app.agent.daemon.pipeline.effort import EFFORTS, FULL, HARD, LIGHT, NONE, Controller, Effort, Window
from app.agent.daemon.pipeline.packer import WINDOW_BYTES, Packer, Sent
from app.wire.chunks import MIB
from app.wire.codec import Codec, decode

MB = 1e6
GIB = 1 << 30
RAW = 40 * MIB
PACKING = {NONE: 0.0, LIGHT: 0.96, FULL: 1.37, HARD: 2.07}
"""CPU seconds a GiB of the agent."""
UNPACKING = {NONE: 0.0, LIGHT: 0.45, FULL: 0.49, HARD: 0.5}
GAINS = {NONE: 1.0, LIGHT: 1.81, FULL: 2.14, HARD: 2.23}
OTHER = 0.5
"""CPU seconds a GiB at each end for everything else."""


@dataclass(frozen=True)
class Circumstances:
    """A link and a store in bytes a second, cores of agent and service, and a disk: softness 1 is usual."""

    link: float
    agent: float = 2.0
    service: float = 2.0
    store: float = 2000 * MB
    softness: float = 1.0

    def gain(self, effort: Effort) -> float:
        """Plain by packed bytes."""
        return 1 + (GAINS[effort] - 1) * self.softness

    def speed(self, effort: Effort) -> float:
        """Plain bytes a second that get through."""
        agent = self.agent * GIB / (OTHER + PACKING[effort])
        service = self.service * GIB / (OTHER + UNPACKING[effort])
        return min(agent, service, self.gain(effort) * min(self.link, self.store))

    def window(self, effort: Effort) -> Window:
        """What a pass would see of this."""
        seconds = RAW / self.speed(effort)
        network = RAW / self.gain(effort) / self.link
        return Window(seconds, RAW, min(seconds, network), self.gain(effort))


SLOW_LINK = Circumstances(link=12 * MB)
GBIT = Circumstances(link=117 * MB)
LOOPBACK = Circumstances(link=3000 * MB, agent=1.0, service=1.0)
WEAK_HOST = Circumstances(link=1200 * MB, agent=0.5)
WEAK_SERVICE = Circumstances(link=1200 * MB, service=0.3)
SLOW_STORE = Circumstances(link=1200 * MB, store=100 * MB)
MIDDLE = Circumstances(link=320 * MB, agent=0.8)


def after(controller: Controller, circumstances: Circumstances, windows: int = 400) -> list[Effort]:
    """The efforts of the second half of so many windows."""
    efforts = []
    for _ in range(windows):
        efforts.append(controller.effort)
        controller.learn(circumstances.window(controller.effort))
    return efforts[windows // 2 :]


def share(efforts: list[Effort], *which: Effort) -> float:
    """Of the windows with one of these."""
    return sum(efforts.count(effort) for effort in which) / len(efforts)


def speed(circumstances: Circumstances, efforts: list[Effort]) -> float:
    """Plain bytes a second over these windows, which are of equally many bytes."""
    return len(efforts) / sum(1 / circumstances.speed(effort) for effort in efforts)


@pytest.mark.parametrize(
    ("circumstances", "efforts"),
    [
        (SLOW_LINK, (HARD,)),
        (GBIT, (HARD,)),
        (LOOPBACK, (NONE,)),
        (WEAK_HOST, (NONE,)),
        (WEAK_SERVICE, (NONE,)),
        (SLOW_STORE, (FULL, HARD)),
        (MIDDLE, (LIGHT,)),
        (replace(SLOW_LINK, softness=0.0), (NONE,)),
        (replace(LOOPBACK, softness=0.0), (NONE,)),
    ],
    ids=["slow link", "gbit", "loopback", "host", "service", "store", "middle", "random", "random, fast"],
)
def test_the_effort_fits_the_circumstances(circumstances: Circumstances, efforts: tuple[Effort, ...]) -> None:
    settled = after(Controller(), circumstances)
    assert share(settled, *efforts) > 0.8
    assert speed(circumstances, settled) > 0.85 * max(circumstances.speed(effort) for effort in EFFORTS)


def test_of_two_efforts_that_are_about_as_fast_the_lighter_one_stays() -> None:
    even = Circumstances(link=3000 * MB, store=1345 * MIB)
    assert 1.0 < even.speed(LIGHT) / even.speed(NONE) < 1.05
    assert share(after(Controller(), even), NONE) > 0.5


@pytest.mark.parametrize("later", [SLOW_LINK, GBIT, LOOPBACK, SLOW_STORE])
@pytest.mark.parametrize("before", [SLOW_LINK, LOOPBACK, replace(GBIT, softness=0.0)])
def test_a_change_of_circumstances_is_followed(before: Circumstances, later: Circumstances) -> None:
    controller = Controller()
    after(controller, before)
    settled = after(controller, later, windows=600)
    assert speed(later, settled) > 0.85 * max(later.speed(effort) for effort in EFFORTS)


def test_a_fast_link_is_noticed_within_a_few_windows() -> None:
    controller = Controller()
    for _ in range(2):
        controller.learn(LOOPBACK.window(controller.effort))
    assert controller.effort is NONE


def test_a_network_that_looks_short_now_and_then_is_no_reason_to_compress() -> None:
    """Two processes that share their processors: between them some windows look like that."""
    controller, chance = Controller(), random.Random(7)
    efforts = []
    for _ in range(400):
        efforts.append(controller.effort)
        usual = LOOPBACK.window(controller.effort)
        network = usual.seconds * chance.choice((0.7, 0.85, 0.97))
        controller.learn(replace(usual, network=network))
    assert share(efforts, NONE) > 0.6


def test_a_slow_link_is_noticed_within_a_few_windows() -> None:
    controller = Controller()
    for _ in range(4):
        assert controller.effort is FULL
        controller.learn(SLOW_LINK.window(controller.effort))
    assert controller.effort is HARD


def test_a_disk_whose_parts_compress_differently_does_not_mislead() -> None:
    """On a slow link a few windows of packed files are no reason to send everything else as it is."""
    controller, chance = Controller(), random.Random(4)
    seen = []
    for _ in range(200):
        part = replace(GBIT, softness=chance.choice((0.02, 0.5, 1.0, 3.0)))
        seen.append(controller.effort)
        controller.learn(part.window(controller.effort))
    assert share(seen, FULL, HARD) > 0.6
    assert share(seen, NONE) < 0.1


def test_a_window_without_data_teaches_nothing() -> None:
    controller = Controller()
    controller.learn(Window(0.25, 0, 0.0, 1.0))
    assert controller.effort is FULL


def test_what_is_packed_unpacks_again() -> None:
    packer = Packer()
    data = b"go2cloud" * 4096
    codec, packed = packer.pack(data)
    assert codec is Codec.ZSTD
    assert bytes(decode(codec, packed, len(data))) == data


class Time:
    """A clock that goes on by a tenth of a second each time that it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def test_frames_that_were_packed_before_a_change_say_nothing_about_it() -> None:
    packer = Packer(Time())
    packer.pack(b"go2cloud" * 4096)
    for _ in range(3):
        packer.sent(Sent(FULL, WINDOW_BYTES, 0.0))
    assert packer.effort is LIGHT
    for _ in range(20):
        packer.sent(Sent(FULL, WINDOW_BYTES, 0.0))
    assert packer.effort is LIGHT
    for _ in range(3):
        packer.sent(Sent(LIGHT, WINDOW_BYTES, 0.0))
    assert packer.effort is NONE
    assert packer.pack(b"go2cloud" * 4096)[0] is Codec.NONE


def test_a_receiver_that_does_not_read_is_not_taken_for_a_slow_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        sending = threading.Thread(target=near.sendall, args=(bytes(32 * MIB),))
        sending.start()
        sending.join(1.0)
        blocked = network_seconds(near)
        received = 0
        while received < 32 * MIB:
            received += len(far.recv(MIB))
        sending.join()
    assert blocked is not None
    assert blocked < 0.5
