"""What `check` can find, and its report."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class FindingKind(StrEnum):
    """Names of findings; scripts may rely on them."""

    CHECKPOINT_FILE_MISSING = "CHECKPOINT_FILE_MISSING"
    CHECKPOINT_FILE_DAMAGED = "CHECKPOINT_FILE_DAMAGED"
    CHECKPOINT_FILE_DIFFERS = "CHECKPOINT_FILE_DIFFERS"
    CHECKPOINT_UNKNOWN = "CHECKPOINT_UNKNOWN"
    CHECKPOINT_UNMARKED = "CHECKPOINT_UNMARKED"
    ROOT_MISSING = "ROOT_MISSING"
    ROOT_DAMAGED = "ROOT_DAMAGED"
    LEAF_MISSING = "LEAF_MISSING"
    LEAF_DAMAGED = "LEAF_DAMAGED"
    NODE_UNKNOWN = "NODE_UNKNOWN"
    CHUNK_UNKNOWN = "CHUNK_UNKNOWN"
    CHUNK_DAMAGED = "CHUNK_DAMAGED"
    CHUNK_MISPLACED = "CHUNK_MISPLACED"
    PACK_MISSING = "PACK_MISSING"
    PACK_DAMAGED = "PACK_DAMAGED"
    PACK_DAMAGED_UNUSED = "PACK_DAMAGED_UNUSED"
    PACK_UNKNOWN = "PACK_UNKNOWN"


MEANING = {
    FindingKind.CHECKPOINT_FILE_MISSING: "a checkpoint of the database has no file: a rebuild would lose it",
    FindingKind.CHECKPOINT_FILE_DAMAGED: "a checkpoint file is not what its checksum says",
    FindingKind.CHECKPOINT_FILE_DIFFERS: "a checkpoint file names other disks or roots than the database",
    FindingKind.CHECKPOINT_UNKNOWN: "a confirmed checkpoint file has no row in the database",
    FindingKind.CHECKPOINT_UNMARKED: "a confirmed checkpoint has no commit marker; collection adds it",
    FindingKind.ROOT_MISSING: "a checkpoint's root node is gone",
    FindingKind.ROOT_DAMAGED: "a checkpoint's root node does not hash to its name",
    FindingKind.LEAF_MISSING: "a leaf of a checkpoint is gone",
    FindingKind.LEAF_DAMAGED: "a leaf of a checkpoint does not hash to its name",
    FindingKind.NODE_UNKNOWN: "a node of a checkpoint has no live row: collection could take it away",
    FindingKind.CHUNK_UNKNOWN: "a leaf names chunks that the database does not know",
    FindingKind.CHUNK_DAMAGED: "chunks do not hash to their ids",
    FindingKind.CHUNK_MISPLACED: "rows of chunks point to another place than the pack's index",
    FindingKind.PACK_MISSING: "a pack of the database is gone",
    FindingKind.PACK_DAMAGED: "a pack is not what its name or its index says",
    FindingKind.PACK_DAMAGED_UNUSED: "a pack is damaged, or gone, where no chunk is lost by it",
    FindingKind.PACK_UNKNOWN: "a pack has no row; the next collection removes it",
}

_HARMLESS = frozenset(
    {FindingKind.CHECKPOINT_UNMARKED, FindingKind.PACK_DAMAGED_UNUSED, FindingKind.PACK_UNKNOWN}
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `object` is its name, `chunks` how many chunks it concerns."""

    kind: FindingKind
    object: str
    detail: str
    chunks: int = 0

    @property
    def is_harmless(self) -> bool:
        """Whether nothing is lost by it and collection tidies it up."""
        return self.kind in _HARMLESS

    def __str__(self) -> str:
        return f"{self.kind}: {MEANING[self.kind]}: {self.object}: {self.detail}"


@dataclass
class CheckReport:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    checkpoints: int = 0
    nodes: int = 0
    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    chunks_damaged: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing harmful was found."""
        return all(finding.is_harmless for finding in self.findings)

    def add(self, kind: FindingKind, name: str, detail: object, chunks: int = 0) -> None:
        """Note one finding."""
        self.findings.append(Finding(kind, name, str(detail), chunks))


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is: `stage` is checkpoints, trees, packs or data."""

    stage: str
    done: int
    total: int


OnProgress = Callable[[CheckProgress], None]


def no_progress(progress: CheckProgress) -> None:
    """Tell nobody."""
