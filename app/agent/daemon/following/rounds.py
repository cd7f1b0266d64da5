"""What was written, taken again and again: the leaves of one round over all followed disks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.unread import swapped
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.errors import TrackerGap
from app.agent.daemon.following.arena import Wanted
from app.agent.daemon.following.capture import FollowedCapture, RoundDirt
from app.agent.daemon.following.restless import Chunks, places_of, restless
from app.agent.daemon.following.tracking import Tracking
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafKey, LeafTask, leaf_runs, tasks_of
from app.agent.daemon.tracking.blocks import BlockSet
from app.agent.daemon.tracking.dirty import DirtyMap
from app.wire.chunks import BLOCK
from app.wire.tree import LEAF_IDS


@dataclass(frozen=True)
class FollowedDisk:
    """A disk of a pass that is done in part, and the pass's seams."""

    disk: DiskPass
    capture: FollowedCapture
    dirt: RoundDirt

    @property
    def key(self) -> str:
        """The disk's key."""
        return self.disk.base.key


@dataclass(frozen=True)
class Left:
    """Bytes that are left for a cut: of whole chunks, and of the written blocks alone, which are in so many
    places of the disks."""

    chunks: int
    blocks: int
    places: int


class Rounds:
    """The followed disks of a pass. What is taken stays to be done until it is said to be `delivered`."""

    def __init__(self, tracking: Tracking, disks: Sequence[FollowedDisk]) -> None:
        self._tracking = tracking
        self._undone = {each.key: BlockSet() for each in disks}
        self._latest = {each.key: BlockSet() for each in disks}
        self.disks = tuple(disks)

    def take_all(self, extra: Mapping[str, BlockSet]) -> list[LeafTask]:
        """What was written since the head, and these blocks by their disks' keys. Raises TrackerGap."""
        self._drain()
        for each in self.disks:
            self._undone[each.key].update(self._dirty(each).take_all())
            self._undone[each.key].update(extra.get(each.key, BlockSet()))
        return self.undone()

    def take(self) -> list[LeafTask]:
        """What was written since the last take, and what is still to be done. Raises TrackerGap."""
        self._take()
        return self.undone()

    def take_for_cut(self, *, is_sparse: bool) -> list[Wanted]:
        """The same in blocks: of whole chunks, or sparse, of what was written alone. Raises TrackerGap."""
        self._take()
        return self.wanted(is_sparse=is_sparse)

    def wanted(self, *, is_sparse: bool) -> list[Wanted]:
        """What was taken and is still to be done, in blocks."""
        return [wanted for each in self.disks for wanted in self._wanted(each, is_sparse=is_sparse)]

    def _take(self) -> None:
        self._drain()
        for each in self.disks:
            self._latest[each.key] = self._dirty(each).take()
            self._undone[each.key].update(self._latest[each.key])

    def undone(self) -> list[LeafTask]:
        """What was taken and is still to be done."""
        return [task for each in self.disks for task in self._work(each, self._begun(each))]

    def _begun(self, each: FollowedDisk) -> Extents:
        undone = self._undone[each.key]
        each.dirt.begin(undone)
        return each.capture.written(undone.extents())

    def _wanted(self, each: FollowedDisk, *, is_sparse: bool) -> Iterator[Wanted]:
        unit = each.disk.base.chunk_size
        per_chunk, extents = unit // BLOCK, self._begun(each)
        if is_sparse:
            by_leaf = leaf_runs(extents, BLOCK, LEAF_IDS * per_chunk)
        else:
            by_leaf = leaf_runs(extents, unit, LEAF_IDS)
        for leaf, runs in by_leaf.items():
            blocks = runs if is_sparse else [(first * per_chunk, count * per_chunk) for first, count in runs]
            yield Wanted(LeafKey(each.disk.number, leaf), tuple(blocks))

    def latest(self, number: int) -> BlockSet:
        """What the last `take` found of the disk with this number: written since the take before it."""
        return next(self._latest[each.key] for each in self.disks if each.disk.number == number)

    def note_swap(self, standing: OnDisks) -> None:
        """What is active swap no more is to be done: another use of it may have begun."""
        for each in self.disks:
            gone = each.capture.unwritten.without(swapped(standing, each.key))
            each.capture.count_again(gone)
            for start, end in gone:
                self._undone[each.key].add(start, end - start)

    def restless(self, most: int) -> Chunks:
        """The chunks, `most` bytes of them at most, that are to be done and will be written to again."""
        places = {
            each.disk.number: places_of(self._undone[each.key].extents(), each.disk.base.chunk_size)
            for each in self.disks
        }
        return restless(places, most // max(each.disk.base.chunk_size for each in self.disks))

    def delivered(self, but: Chunks = MappingProxyType({})) -> None:
        """What was taken is with the service, `but` for what was written to these chunks."""
        self._undone = {each.key: self._kept(each, but.get(each.disk.number, ())) for each in self.disks}

    def _kept(self, each: FollowedDisk, chunks: Iterable[int]) -> BlockSet:
        unit, kept = each.disk.base.chunk_size, BlockSet()
        for chunk in chunks:
            for start, end in self._undone[each.key].within(chunk * unit, (chunk + 1) * unit):
                kept.add(start, end - start)
        return kept

    @property
    def is_delivered(self) -> bool:
        """Whether nothing that was taken is still to be done."""
        return not any(self._undone.values())

    def left(self) -> Left:
        """What a cut would have to read now. Raises TrackerGap."""
        self._drain()
        waiting = [(each, self._waiting_for(each)) for each in self.disks]
        return Left(
            chunks=sum(_bytes(self._work(*each), self.unit(each[0].disk.number)) for each in waiting),
            blocks=sum(extents.total for _, extents in waiting),
            places=sum(len(extents) for _, extents in waiting),
        )

    def leaves(self) -> int:
        """How many leaves would be kept after one more round."""
        return sum(
            len(each.disk.kept_leaves | {task.key.index for task in self._waiting(each)})
            for each in self.disks
        )

    def keep_no_leaves(self) -> None:
        """The round to come is the only one: leaves go out as they are done."""
        for each in self.disks:
            each.disk.is_one_round = True

    def is_written(self) -> bool:
        """Whether anything that counts was written since the last take. Raises TrackerGap."""
        self._drain()
        return any(len(self._written(each)) for each in self.disks)

    def is_writing(self) -> bool:
        """Whether a write is under way, which nothing tells of before it is complete."""
        return any(self._tracking.is_writing(each.key) for each in self.disks)

    def disk(self, number: int) -> DiskPass:
        """The pass with this number."""
        return next(each.disk for each in self.disks if each.disk.number == number)

    def unit(self, number: int) -> int:
        """Bytes of a chunk of the disk with this number."""
        return self.disk(number).base.chunk_size

    def _work(self, each: FollowedDisk, extents: Extents) -> list[LeafTask]:
        return tasks_of(each.disk.number, extents, each.disk.base.chunk_size)

    def _waiting(self, each: FollowedDisk) -> list[LeafTask]:
        """What the next take would give."""
        return self._work(each, self._waiting_for(each))

    def _waiting_for(self, each: FollowedDisk) -> Extents:
        blocks = self._dirty(each).written()
        blocks.update(self._undone[each.key])
        return each.capture.counting(blocks.extents())

    def _dirty(self, each: FollowedDisk) -> DirtyMap:
        return self._tracking.dirty_of(each.key)

    def _written(self, each: FollowedDisk) -> Extents:
        return each.capture.counting(self._dirty(each).written().extents())

    def _drain(self) -> None:
        self._tracking.drain()
        for each in self.disks:
            reason = self._tracking.gap_of(each.key)
            if reason:
                raise TrackerGap(each.key, each.disk.reader.path, reason)


def _bytes(tasks: Iterable[LeafTask], unit: int) -> int:
    return sum(count * unit for task in tasks for _, count in task.runs or ())
