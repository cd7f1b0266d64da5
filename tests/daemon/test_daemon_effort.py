"""Choosing how hard to compress, in simulated circumstances."""

from dataclasses import dataclass, replace

import pytest

from app.agent.daemon.pipeline.effort import EFFORTS, FULL, GIB, LIGHT, NONE, Controller, Effort, Window
from app.agent.daemon.pipeline.packer import Packer
from app.wire.codec import Codec, decode

MB = 1e6
OTHER = 0.9 / GIB
"""CPU seconds a byte for everything but compression."""
SECONDS = 0.25


@dataclass(frozen=True)
class Circumstances:
    """A link in bytes a second, cores for the agent, and a disk: softness 1 is usual, 0 does not compress."""

    link: float
    cores: float
    softness: float = 1.0
    slowness: float = 1.0

    def speed(self, effort: Effort) -> float:
        """Bytes of the disk a second."""
        price = OTHER + effort.price * self.slowness / GIB
        return min(self.link * self.gain(effort), self.cores / price)

    def gain(self, effort: Effort) -> float:
        """Plain by packed bytes."""
        return 1 + (effort.gain - 1) * self.softness

    def window(self, effort: Effort) -> Window:
        """What a pass would see of this."""
        raw = self.speed(effort) * SECONDS
        wire = raw / self.gain(effort)
        probe = LIGHT if effort is NONE else effort
        packed_raw = raw / 16 if effort is NONE else raw
        packing = packed_raw * probe.price * self.slowness / GIB
        return Window(
            seconds=SECONDS,
            raw=int(raw),
            wire=int(wire),
            sending=wire / self.link,
            other_cpu=raw * OTHER,
            idle=max(0.0, self.cores * SECONDS - raw * OTHER - packing),
            effort=probe,
            packed_raw=int(packed_raw),
            packed=int(packed_raw / self.gain(probe)),
            packing_cpu=packing,
        )


SLOW_LINK = Circumstances(link=12 * MB, cores=2.0)
GBIT = Circumstances(link=117 * MB, cores=2.0)
FAST_LINK_WEAK_HOST = Circumstances(link=1200 * MB, cores=0.5)
MIDDLE = Circumstances(link=250 * MB, cores=0.7)


def after(controller: Controller, circumstances: Circumstances, windows: int = 12) -> Effort:
    """The effort that the controller has settled on."""
    for _ in range(windows):
        controller.learn(circumstances.window(controller.effort))
    return controller.effort


@pytest.mark.parametrize(
    ("circumstances", "effort"),
    [
        (SLOW_LINK, FULL),
        (GBIT, FULL),
        (FAST_LINK_WEAK_HOST, NONE),
        (MIDDLE, LIGHT),
        (replace(SLOW_LINK, softness=0.0), NONE),
        (replace(GBIT, slowness=8.0, cores=1.0), NONE),
    ],
    ids=["slow link", "gigabit", "weak host", "in between", "incompressible", "slow processor"],
)
def test_the_effort_fits_the_circumstances(circumstances: Circumstances, effort: Effort) -> None:
    chosen = after(Controller(), circumstances)
    fastest = max(circumstances.speed(other) for other in EFFORTS)
    assert circumstances.speed(chosen) * 1.1 >= fastest
    assert chosen is effort or circumstances.speed(chosen) >= circumstances.speed(effort)


@pytest.mark.parametrize("later", [SLOW_LINK, GBIT, FAST_LINK_WEAK_HOST])
@pytest.mark.parametrize("before", [SLOW_LINK, FAST_LINK_WEAK_HOST])
def test_a_change_of_circumstances_is_followed(before: Circumstances, later: Circumstances) -> None:
    controller = Controller()
    after(controller, before)
    assert later.speed(after(controller, later)) * 1.1 >= max(later.speed(effort) for effort in EFFORTS)


def test_a_blocked_pass_does_not_take_its_idleness_for_a_lack_of_cpu() -> None:
    """Others use what the pass leaves over while it waits for the link: no reason to stay light."""
    controller = Controller()
    after(controller, GBIT)
    for _ in range(20):
        window = replace(GBIT.window(controller.effort), idle=0.0)
        controller.learn(window)
    assert controller.effort is FULL


def test_noise_does_not_make_it_flap() -> None:
    controller = Controller()
    after(controller, GBIT)
    seen = set()
    for number in range(40):
        noisy = replace(GBIT, link=GBIT.link * (1.05 if number % 2 else 0.95))
        controller.learn(noisy.window(controller.effort))
        seen.add(controller.effort)
    assert seen == {FULL}


def test_a_window_without_data_teaches_nothing() -> None:
    controller = Controller()
    controller.learn(Window(SECONDS, 0, 0, 0.0, 0.01, 0.4, FULL, 0, 0, 0.0))
    assert controller.effort is FULL


def test_what_is_packed_unpacks_again() -> None:
    packer = Packer()
    data = b"go2cloud" * 4096
    codec, packed = packer.pack(data)
    assert codec is Codec.ZSTD
    assert bytes(decode(codec, packed, len(data))) == data


def test_one_chunk_in_sixteen_is_still_compressed_where_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    packer = Packer()
    monkeypatch.setattr(packer._controller, "effort", NONE)
    codecs = [packer.pack(b"go2cloud" * 4096)[0] for _ in range(64)]
    assert codecs.count(Codec.ZSTD) == 4
