"""The agent's rules: open, swap, read, have, put, cut, commit, and what a refusal or silence means.

An agent is a generator: it yields None where it pauses between two local steps (anything may happen then),
or a request, and is sent the answer, a Refusal, or None when it gave up waiting. Its order is that of the
design; `is_tracked` False is the daemon's rescan. A request's own repetition is in `_call`.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeVar

from tests.faults.protocol import words
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.source import Source, Tracker
from tests.faults.protocol.words import FROZEN, FUZZY, QUIET, ZERO, ZERO_LEAF, Answer, Refusal, Request

T = TypeVar("T")
Life = Generator[Request | None, Answer, T]

ATTEMPTS: Final = 4
"""How often a request is repeated before the session is given up."""


@dataclass(frozen=True)
class Options:
    """How an agent goes about it. A thief tries to refer to chunks that it does not hold."""

    is_tracked: bool
    freezes: bool
    rounds: int
    stays: bool
    """Commits again in the same session."""
    patches: bool
    is_sparse: bool = False
    """Patches go without the names of their chunks."""
    steals: tuple[int, ...] = ()


class Anew(Exception):
    """The session is over: everything uncommitted is dirty again."""


@dataclass(frozen=True)
class Kept:
    """What a (broken) agent finds on its disk after a restart."""

    base: int
    ids: tuple[int, ...]
    dirty: frozenset[int]


class Agent:
    """One agent process of a server; `name` tells processes apart, `instance` is what it claims to be."""

    def __init__(
        self,
        name: str,
        instance: str,
        source: Source,
        options: Options,
        clock: Callable[[], int],
        mutant: Mutant | None,
    ) -> None:
        self.name = name
        self.instance = instance
        self.source = source
        self.options = options
        self.kept: Kept | None = None
        self._clock = clock
        self._mutant = mutant
        self._tracker = Tracker(0)
        self._base: int | None = None
        self._base_ids: list[int] = []
        self._ids: list[int] = []
        self._frozen: set[int] = set()
        self._doubted: set[int] = set()
        self._low = self._high = self._source_time = 0
        self._head_time: int | None = None
        self._label = FUZZY
        self._thefts = 0

    def life(self) -> Life[None]:
        """From start to kill."""
        self._tracker = self.source.start_tracker(self.name)
        self._base, self._frozen, self._doubted = None, set(), set()
        if self.kept is not None and self._mutant is Mutant.TRACKER_TRUSTED_AFTER_RESTART:
            self._base, self._base_ids, self._ids = self.kept.base, list(self.kept.ids), list(self.kept.ids)
            self._tracker.current |= self.kept.dirty
        while True:
            try:
                yield from self._session()
            except Anew:
                self._tracker.current |= self._frozen
                self._frozen = set()
            yield None

    def stop(self) -> None:
        """The process dies; its tracker dies with it."""
        if self._base is not None:
            dirty = frozenset(self._tracker.current | self._frozen)
            self.kept = Kept(self._base, tuple(self._base_ids), dirty)
        self.source.trackers.pop(self.name, None)

    # requests

    def _call(self, request: Request, kind: type[T]) -> Life[T]:
        """Ask, and ask again when no answer comes. Raises Anew for a refusal and for silence."""
        for _ in range(ATTEMPTS):
            answer = yield request
            if isinstance(answer, Refusal):
                self._doubted |= set(answer.ids)
                raise Anew
            if isinstance(answer, kind):
                return answer
        raise Anew

    # a session

    def _session(self) -> Life[None]:
        opened = yield from self._call(words.Open(self.instance), words.Opened)
        self._doubted |= set(opened.resend)
        self._head_time = opened.head_time
        if self._thefts < len(self.options.steals):
            self._thefts += 1
            yield from self._steal(opened, self.options.steals[self._thefts - 1])
        knows_base = self.options.is_tracked and self._base is not None and self._base == opened.head
        if not knows_base:
            yield from self._fetch_base(opened)
        everything, head = not knows_base, opened.head
        while True:
            yield from self._copy(opened, everything)
            head = yield from self._commit(opened, head, self._label)
            if not self.options.stays:
                return
            everything = not self.options.is_tracked
            yield None

    def _fetch_base(self, opened: words.Opened) -> Life[None]:
        ids: list[int] = []
        for disk in range(len(self.source.leaves)):
            root = yield from self._call(words.Leaves(opened.session, disk), tuple)
            ids += [value for leaf in root for value in leaf]
        self._base_ids = ids
        self._ids = list(ids)

    # reading

    def _copy(self, opened: words.Opened, everything: bool) -> Life[None]:
        """Rounds of swap, read and send; the last one may be a cut under freeze. Sets the label."""
        for _ in range(self.options.rounds):
            yield None
            before = self.source.activity()
            yield from self._round(everything)
            yield from self._send(opened)
            everything = not self.options.is_tracked
        if self.options.freezes and self.source.freeze(self.name):
            yield from self._cut()
            yield from self._send(opened)
            return
        yield None
        after = self.source.activity()
        is_calm = before == after and not after.in_flight
        self._label, self._high = QUIET if is_calm else FUZZY, self.source.version

    def _cut(self) -> Life[None]:
        while self.source.frozen_by == self.name and not self.source.is_frozen(self.name):
            yield None
        before = self.source.activity()
        yield from self._round(False)
        after, self._high = self.source.activity(), self.source.version
        is_calm = before == after and not after.in_flight
        yield None
        held = self.source.thaw(self.name)
        self._label = FROZEN if held else QUIET if is_calm else FUZZY

    def _round(self, everything: bool) -> Life[None]:
        """Swap, then read."""
        tracker, clears_late = self._tracker, self._mutant is Mutant.CLEARED_AFTER_READ
        if tracker.has_gap and self._mutant is not Mutant.GAP_IGNORED:
            tracker.has_gap, everything = False, True
        self._low, self._source_time = self.source.low(), self._stated_time()
        self._frozen |= tracker.current
        if not clears_late:
            tracker.current = set()
        dirty = set(range(self.source.size)) if everything else set(self._frozen)
        for position in sorted(dirty):
            yield None
            self._ids[position] = self.source.content[position]
        if clears_late:
            yield None
            tracker.current = set()

    # sending

    def _send(self, opened: words.Opened) -> Life[None]:
        """Have, then put, until the service took everything."""
        for _ in range(ATTEMPTS):
            wanted = self._candidates()
            codes: tuple[str, ...] = ()
            if wanted:
                codes = yield from self._call(words.Have(opened.session, tuple(wanted)), tuple)
            frames = self._frames(wanted, dict(zip(wanted, codes, strict=True)))
            if not frames:
                return
            answer = yield words.Put(opened.session, frames)
            if isinstance(answer, Refusal) and answer.code != "CUT_OFF":
                raise Anew
            if isinstance(answer, words.PutResult):
                self._doubted |= set(answer.refused)
                if not answer.refused:
                    return
        raise Anew

    def _candidates(self) -> dict[int, int]:
        """Chunks that differ from the base's at their place, or are doubted, with the base's chunk there."""
        pairs = list(zip(self._ids, self._base_ids, strict=True))
        return {new: old for new, old in pairs if new != ZERO and (new != old or new in self._doubted)}

    def _frames(self, wanted: dict[int, int], codes: dict[int, str]) -> tuple[words.Frame, ...]:
        proofs = tuple(v for v in wanted if codes[v] == words.PROVE and v not in self._doubted)
        missing = [v for v in wanted if codes[v] == words.SEND or v in self._doubted]
        patched = [value for value in missing if self._is_patchable(value, wanted[value])]
        frames: list[words.Frame] = []
        if proofs:
            frames.append(words.Proofs(proofs))
        if patched:
            kind = words.Blocks if self.options.is_sparse else words.Patches
            frames.append(kind(tuple((value, wanted[value]) for value in patched)))
        if len(patched) < len(missing):
            frames.append(words.Chunks(tuple(value for value in missing if value not in patched)))
        leaves = {leaf for change in self._changes() for _, leaf in change if leaf != ZERO_LEAF}
        if leaves:
            frames.append(words.LeafFrame(tuple(sorted(leaves))))
        return tuple(frames)

    def _is_patchable(self, value: int, base: int) -> bool:
        fits = base not in (ZERO, value) and not {value, base} & self._doubted
        return self.options.patches and fits

    def _changes(self) -> list[tuple[tuple[int, words.Ids], ...]]:
        """For each disk the leaves that differ from the base, by index."""
        found = []
        for disk in range(len(self.source.leaves)):
            pairs = zip(
                self.source.root(self._ids, disk), self.source.root(self._base_ids, disk), strict=True
            )
            found.append(tuple((at, new) for at, (new, old) in enumerate(pairs) if new != old))
        return found

    # committing

    def _commit(self, opened: words.Opened, head: int, label: str) -> Life[int]:
        """Ask for the checkpoint, and again when no answer comes; it is the new base."""
        message = words.Commit(
            opened.session,
            opened.generation,
            head,
            label,
            self._source_time,
            tuple(self._disk(disk, change, head) for disk, change in enumerate(self._changes())),
            words.Ghost(self._low, self._high),
        )
        committed = yield from self._call(message, words.Committed)
        assert committed.roots == tuple(disk.root for disk in message.disks)
        self._base, self._base_ids = committed.checkpoint, list(self._ids)
        self._frozen, self._doubted = set(), set()
        self._head_time = message.source_time
        return committed.checkpoint

    def _stated_time(self) -> int:
        """By the source's clock; the head's where that was set back behind it."""
        now = self._clock()
        return now if self._head_time is None else max(now, self._head_time)

    def _disk(self, disk: int, change: tuple[tuple[int, words.Ids], ...], head: int) -> words.DiskCommit:
        base = self.source.root(self._base_ids, disk) if head else None
        return words.DiskCommit(disk, base, self.source.root(self._ids, disk), change)

    # stealing

    def _steal(self, opened: words.Opened, value: int) -> Life[None]:
        """Try to get a checkpoint with a chunk that this host never held, by its name alone."""
        yield from self._call(words.Have(opened.session, (value,)), tuple)
        leaf: words.Ids = (value, ZERO)
        frames = (words.Proofs((value,), forged=True), words.LeafFrame((leaf,)))
        yield from self._call(words.Put(opened.session, frames), words.PutResult)
        root = (leaf, *((ZERO_LEAF,) * (self.source.leaves[0] - 1)))
        disk = words.DiskCommit(0, opened.roots[0], root, tuple(enumerate(root)))
        stolen = words.Commit(
            opened.session,
            opened.generation,
            opened.head,
            FUZZY,
            self._stated_time(),
            (disk,),
            words.Ghost(0, self.source.version),
        )
        yield from self._call(stolen, words.Committed)
