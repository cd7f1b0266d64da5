"""Disks that are read at the same time share one cache of leaves."""

import threading
from collections import OrderedDict

import pytest

from app.agent.daemon.pipeline.base import LeafCache

ONE, OTHER = b"1" * 32, b"2" * 32


class Disturbed(OrderedDict[bytes, bytes]):
    """Another thread keeps a leaf just after one was looked up."""

    def __init__(self, cache: LeafCache) -> None:
        super().__init__()
        self.other = threading.Thread(target=cache.keep, args=(OTHER, OTHER))

    def get(self, name: bytes, default: object = None) -> bytes | None:  # type: ignore[override]
        found = super().get(name)
        self.other.start()
        self.other.join(0.2)
        return found


def test_a_leaf_that_another_thread_pushes_out_while_it_is_asked_for_ends_no_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = LeafCache(most=1)
    disturbed = Disturbed(cache)
    monkeypatch.setattr(cache, "_leaves", disturbed)
    cache.keep(ONE, ONE)
    assert cache.get(ONE) == ONE
    disturbed.other.join()
    assert dict(disturbed) == {OTHER: OTHER}
