"""Words of the model: symbolic contents, requests, answers, refusals, await points.

Content addressing is taken literally: a chunk's name is its content (a small integer, 0 is all zeros), a
leaf's name the tuple of its chunk names, a root's the tuple of its leaves. So equal names mean equal bytes,
as with a hash that never collides, and a checker can read a name.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

Ids = tuple[int, ...]
Root = tuple[Ids, ...]

ZERO: Final = 0
LEAF_WIDTH: Final = 2
ZERO_LEAF: Final[Ids] = (ZERO,) * LEAF_WIDTH

HOUR: Final = 3600
LEASE: Final = 30
GRACE: Final = 24 * HOUR
REGISTER: Final = GRACE // 4
IDLE_SESSION: Final = 24 * HOUR
MAX_DEPTH: Final = 8

READ: Final = "read"
"""A reading unit, or reading the store."""
SYNC: Final = "sync"
"""The fsync behind a put: until it, a crash forgets what was put."""
DELETE: Final = "delete"
TX: Final = "tx"
"""One transaction that writes."""
PUT: Final = {kind: f"put {kind}" for kind in ("pack", "leaf", "root", "file", "marker")}
"""An object of this kind is written to the store."""
SCAN: Final = {table: f"list {table}" for table in ("checkpoints", "packs", "nodes")}
"""Garbage collection lists the rows of a table."""
COARSE: Final = frozenset({TX, *PUT.values(), *SCAN.values()})
"""Where a coarse schedule stops an operation: the await points that the real services are held at too."""

KNOWN: Final = "known"
PROVE: Final = "prove"
SEND: Final = "send"

FROZEN: Final = "frozen"
QUIET: Final = "quiet"
FUZZY: Final = "fuzzy"


class Refusal(Exception):
    """The service says no; `ids` are chunks that it names."""

    def __init__(self, code: str, ids: tuple[int, ...] = ()) -> None:
        super().__init__(code, ids)
        self.code = code
        self.ids = ids


@dataclass(frozen=True)
class Open:
    """Open a session."""

    instance: str


@dataclass(frozen=True)
class Opened:
    """A session; `head` is 0 where there is none, `head_time` its stated time, `roots` those of the base's
    disks."""

    session: int
    generation: int
    head: int
    head_time: int | None
    roots: tuple[Root | None, ...]
    resend: Ids = ()


@dataclass(frozen=True)
class Leaves:
    """Ask for the chunk ids of a disk's base."""

    session: int
    disk: int


@dataclass(frozen=True)
class Have:
    """Ask which chunks the service has."""

    session: int
    ids: Ids


@dataclass(frozen=True)
class Chunks:
    """A frame of whole chunks."""

    ids: Ids


@dataclass(frozen=True)
class Patches:
    """A frame of small changes: (new chunk, chunk that it stands on)."""

    records: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Blocks:
    """The same without the new chunks' names: the service finds them out."""

    records: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Proofs:
    """A frame of proofs of possession; `forged` ones are made without the bytes."""

    ids: Ids
    forged: bool = False


@dataclass(frozen=True)
class LeafFrame:
    """A frame of leaves."""

    leaves: tuple[Ids, ...]


Frame = Chunks | Patches | Blocks | Proofs | LeafFrame


@dataclass(frozen=True)
class Put:
    """A stream of frames; one that `breaks` ends without its END frame."""

    session: int
    frames: tuple[Frame, ...]
    breaks: bool = False


@dataclass(frozen=True)
class PutResult:
    """Everything accepted is durable."""

    stored: int
    known: int
    refused: Ids


@dataclass(frozen=True)
class DiskCommit:
    """One disk of a commit: the leaves that changed by index, and the root that the agent derives."""

    disk: int
    base_root: Root | None
    root: Root
    changed: tuple[tuple[int, Ids], ...]


@dataclass(frozen=True)
class Ghost:
    """What only the checker sees: between which versions of the source the content was read."""

    low: int
    high: int


@dataclass(frozen=True)
class Commit:
    """Make a checkpoint."""

    session: int
    generation: int
    base: int
    label: str
    source_time: int
    disks: tuple[DiskCommit, ...]
    ghost: Ghost


@dataclass(frozen=True)
class Committed:
    """The checkpoint exists and will not be lost."""

    checkpoint: int
    number: int
    roots: tuple[Root, ...]


@dataclass(frozen=True)
class Poll:
    """A heartbeat."""

    instance: str


@dataclass(frozen=True)
class Collected:
    """What a run of garbage collection did."""

    condemned_packs: int
    condemned_nodes: int
    compacted: int
    deleted_packs: int
    deleted_nodes: int
    orphans: int


Request = Open | Leaves | Have | Put | Commit | Poll
Answer = Opened | Root | tuple[str, ...] | PutResult | Committed | Collected | Refusal | None
Operation = Generator[str, None, Answer]
"""Yields the kind of its next await point before each atomic effect; returns the answer or raises Refusal."""
