"""Which packs came uncompressed over a fast link and are worth compressing in the background.

A pack does not say whether its bytes were not compressed or cannot be: some of its records are tried. Packs
are taken by chance, so that those that cannot be compressed do not keep the others waiting, whichever process
asks.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from app.store.compaction import LEVEL, Sparse
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.index import Location
from app.store.objects import ObjectStore
from app.wire.codec import Codec, encode

SAMPLES: Final = 4
MOST_SHARE: Final = 0.9
"""A pack whose samples shrink to more than this stays as it is."""


def is_uncompressed(sparse: Sparse) -> bool:
    """Whether the pack as a whole takes what its chunks do."""
    return sparse.pack.stored_bytes >= sparse.pack.raw_bytes


def worth_shrinking(objects: ObjectStore, found: Sequence[Sparse], most_bytes: int) -> Iterator[Sparse]:
    """Packs among these that get smaller, as long as what is read for it stays below about `most_bytes`.

    One that is lost or cut off is left to the scrub, which names it. Raises StoreError.
    """
    left = most_bytes
    for sparse in random.sample(found, len(found)):
        if left <= 0:
            return
        samples = _samples(sparse)
        left -= sum(at.stored_length for at in samples)
        if _shrinks(objects, samples):
            left -= sparse.pack.stored_bytes
            yield replace(sparse, shrinks=True)


def _samples(sparse: Sparse) -> list[Location]:
    """Some of the live records that are not compressed, spread over the pack."""
    plain = sorted((at for at in sparse.live.values() if at.codec is Codec.NONE), key=lambda at: at.offset)
    return plain[:: max(1, len(plain) // SAMPLES)][:SAMPLES]


def _shrinks(objects: ObjectStore, samples: Sequence[Location]) -> bool:
    try:
        packed = sum(memoryview(encode(objects.read_record(at), LEVEL)[1]).nbytes for at in samples)
    except (ObjectMissing, ObjectDamaged):
        return False
    return bool(samples) and packed < MOST_SHARE * sum(at.stored_length for at in samples)
