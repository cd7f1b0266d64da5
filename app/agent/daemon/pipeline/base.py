"""The ids of the leaves of a disk's base: fetched from the service, a few at a time, and kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from app.wire.tree import LEAF_BYTES, ZERO_IDS, ZERO_LEAF, RootNode, leaf_hash

BATCH: Final = 8
"""Leaves that are fetched with one request while they are asked for in order: 256 KiB."""
MOST_KEPT: Final = 512
"""Leaves in a cache: 16 MiB of ids, which stand for 128 GiB of disk."""

Fetch = Callable[[int, int], bytes]
"""(first leaf, count) → ids of the base's leaves; zeros where the service has none or cannot read it."""


class LeafCache:
    """Leaves by their hashes, the least recently used of them forgotten. For several threads: disks that are
    read at the same time share it."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._leaves: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: bytes) -> bytes | None:
        """The leaf with this hash, if it is here."""
        if name == ZERO_LEAF:
            return ZERO_IDS
        with self._lock:
            ids = self._leaves.get(name)
            if ids is not None:
                self._leaves.move_to_end(name)
        return ids

    def keep(self, name: bytes, ids: bytes) -> None:
        """Keep a leaf."""
        with self._lock:
            self._leaves[name] = ids
            self._leaves.move_to_end(name)
            while len(self._leaves) > self._most:
                self._leaves.popitem(last=False)


class BaseLeaves:
    """The leaves of one disk's base. `tree` is the base's tree where the agent knows it by itself."""

    def __init__(self, fetch: Fetch, count: int, tree: RootNode | None, cache: LeafCache) -> None:
        """`count` is the number of leaves of the disk as it is now; 0 where it has no base."""
        self.tree = tree
        self.cache = cache
        self._fetch = fetch
        self._count = count
        self._held = b""
        self._first = 0

    def ids(self, index: int) -> bytes:
        """The ids of a leaf as the service gives them; zeros where it has none."""
        if self.tree is not None:
            known = self.cache.get(self.tree.leaf(index))
            if known is not None:
                return known
        return self._fetched(index)

    def trusted_ids(self, index: int) -> bytes | None:
        """The ids of a leaf, if they are what the tree says; None where the service has lost the leaf.

        For a leaf that is not done as a whole: what is not read again must be what it was.
        """
        assert self.tree is not None, "only a disk whose tree is known is done in part"
        ids = self.ids(index)
        return ids if leaf_hash(ids) == self.tree.leaf(index) else None

    def _fetched(self, index: int) -> bytes:
        if index >= self._count:
            return ZERO_IDS
        at = (index - self._first) * LEAF_BYTES
        if not 0 <= at < len(self._held):
            follows = index == 0 or at == len(self._held)
            self._held = self._fetch(index, min(BATCH if follows else 1, self._count - index))
            self._first, at = index, 0
        ids = self._held[at : at + LEAF_BYTES]
        if self.tree is not None and leaf_hash(ids) == self.tree.leaf(index):
            self.cache.keep(self.tree.leaf(index), ids)
        return ids
