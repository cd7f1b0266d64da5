"""Memory for frames: the same bytes as a plain join, the same memory as before."""

import random
from itertools import pairwise

import pytest

from app.agent.daemon.pipeline.framememory import FrameMemory
from app.wire.chunks import CHUNK_SIZE, KIB, MIB

CHANCE = random.Random(17)


@pytest.mark.parametrize("size", [0, 5, MIB - 1, MIB, 2 * MIB, 2 * MIB + CHUNK_SIZE, 3 * MIB, 9 * MIB])
def test_a_frame_is_its_parts_one_behind_the_other(size: int) -> None:
    data = CHANCE.randbytes(size)
    cuts = sorted({0, size, *(CHANCE.randrange(size + 1) for _ in range(7))})
    parts = [memoryview(data)[low:high] for low, high in pairwise(cuts)]
    assert bytes(FrameMemory().join([b"", *parts])) == data


def test_memory_that_came_back_is_used_again() -> None:
    memory = FrameMemory()
    first = memory.join([bytes(2 * MIB)])
    assert isinstance(first, memoryview)
    room = first.obj
    memory.give_back(first)
    second = memory.join([b"x" * (MIB + 5)])
    assert isinstance(second, memoryview)
    assert second.obj is room
    assert second == b"x" * (MIB + 5)


def test_frames_that_are_under_way_share_no_memory() -> None:
    memory = FrameMemory()
    frames = [memory.join([bytes([number]) * (MIB + KIB)]) for number in range(20)]
    for frame in frames[:10]:
        memory.give_back(frame)
    more = [memory.join([b"y" * 2 * MIB]) for _ in range(10)]
    assert all(frame == bytes([10 + at]) * (MIB + KIB) for at, frame in enumerate(frames[10:]))
    assert all(frame == b"y" * 2 * MIB for frame in more)


def test_little_is_kept_for_later() -> None:
    memory = FrameMemory()
    frames = [memory.join([bytes(2 * MIB)]) for _ in range(12)]
    rooms = {id(frame.obj) for frame in frames if isinstance(frame, memoryview)}
    for frame in frames:
        memory.give_back(frame)
    again = [memory.join([bytes(2 * MIB)]) for _ in range(12)]
    assert len(rooms) == 12
    assert sum(isinstance(frame, memoryview) and id(frame.obj) in rooms for frame in again) == 4


def test_what_is_no_frame_of_its_own_is_left_alone() -> None:
    memory = FrameMemory()
    memory.give_back(b"small")
    memory.give_back(memoryview(b"z" * 2 * MIB))
    frame = memory.join([bytes(2 * MIB)])
    assert isinstance(frame, memoryview)
    assert isinstance(frame.obj, bytearray)
