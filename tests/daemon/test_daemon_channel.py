"""Handing over between the threads of a pass."""

from app.agent.daemon.pipeline.channel import Channel, Crew


def test_what_is_put_back_is_taken_first() -> None:
    channel = Channel[int](Crew(), 3)
    for number in (1, 2, 3):
        channel.put(number)
    first = channel.get()
    assert first == 1
    channel.put_back(first)
    assert [channel.get() for _ in range(3)] == [1, 2, 3]
