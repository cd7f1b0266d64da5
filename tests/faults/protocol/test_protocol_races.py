"""Races and dead ends of the real services that the model found, each played move by move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.migration.replication import collection
from app.migration.replication.errors import Fenced, MissingChunks, MissingLeaves
from app.migration.replication.index import DatabaseIndex
from app.store.errors import StoreUnavailable
from app.wire.messages import Committed, Opened
from tests.faults.protocol import translation, words
from tests.faults.protocol.collecting import EPOCH
from tests.faults.protocol.conforming import is_whole
from tests.faults.protocol.holding import Held
from tests.faults.protocol.real_service import RealService, real_service
from tests.faults.protocol.words import ZERO, Ids, Root

TWO_DAYS = translation.seconds(2 * words.GRACE)


@pytest.fixture
async def real(template: Path, tmp_path: Path) -> AsyncIterator[RealService]:
    """The real services with one server of one disk with one leaf; packs count as large."""
    async with real_service(template, tmp_path, {"A": (1,)}, packs_are_small=False) as service:
        yield service


class Actor:
    """An agent that does one thing after the other."""

    def __init__(self, real: RealService) -> None:
        self.real = real
        self.sessions = 0
        self.opened: Opened | None = None
        self.base: tuple[str, Root | None] = ("", None)

    async def open(self) -> None:
        """Open a session."""
        self.sessions += 1
        opened = await self.real.ask("A", words.Open("one"))
        assert isinstance(opened, Opened)
        self.real.pairs.sessions[self.sessions] = self.opened = opened

    async def have(self, *ids: int) -> tuple[str, ...]:
        """Ask for chunks."""
        answer = await self.real.ask("A", words.Have(self.sessions, ids))
        assert isinstance(answer, bytes)
        return tuple(words.SEND if code == 0 else words.KNOWN for code in answer)

    async def put(self, *frames: words.Frame) -> None:
        """Send frames."""
        await self.real.ask("A", words.Put(self.sessions, frames))

    async def commit(self, leaf: Ids) -> None:
        """Commit the disk with this leaf."""
        assert self.opened is not None
        head, root = self.base
        self.real.pairs.checkpoints[1] = head
        disk = words.DiskCommit(0, root, (leaf,), ((0, leaf),))
        time = int((self.real.clock.now() - EPOCH).total_seconds())
        message = words.Commit(
            self.sessions, self.opened.generation, 1, words.QUIET, time, (disk,), words.Ghost(0, 0)
        )
        done = await self.real.ask("A", message)
        assert isinstance(done, Committed)
        self.base = done.checkpoint_id, (leaf,)

    async def gets(self, leaf: Ids) -> bool:
        """Whether a commit goes through; False where something that it refers to is gone."""
        try:
            await self.commit(leaf)
        except (MissingChunks, MissingLeaves):
            return False
        return True

    async def replicate(self, leaf: Ids, *frames: words.Frame) -> None:
        """A whole session."""
        await self.open()
        await self.put(*frames, words.LeafFrame((leaf,)))
        await self.commit(leaf)

    async def collect(self) -> None:
        """Garbage collection, two days later."""
        self.real.clock.advance(TWO_DAYS)
        await self.real.ask("A", None)


@pytest.mark.parametrize("moment", range(9))
async def test_a_commit_at_any_moment_of_a_collection_keeps_what_it_refers_to(
    real: RealService, moment: int
) -> None:
    actor = Actor(real)
    await actor.open()
    await actor.put(words.Chunks((1, 2)), words.LeafFrame(((1, 2),)))
    real.clock.advance(TWO_DAYS)
    await actor.open()
    collection = Held()
    await collection.start(real.ask("A", None))
    for _ in range(moment):
        if collection.point is not None:
            await collection.go_on()
    is_acknowledged = await actor.gets((1, 2))
    while collection.point is not None:
        await collection.go_on()
    await collection.result()
    await actor.collect()
    head = (await real.heads())["A"]
    assert (head.generation, head.number) == (2, int(is_acknowledged))
    await is_whole(real)


@pytest.mark.parametrize("kind", [words.Patches, words.Blocks])
@pytest.mark.parametrize("moment", range(9))
async def test_a_second_collection_at_any_moment_of_the_first_takes_nothing_that_is_reachable(
    real: RealService, moment: int, kind: type[words.Patches] | type[words.Blocks]
) -> None:
    actor = Actor(real)
    await actor.replicate((4, 7), words.Chunks((4, 7)))
    await actor.replicate((6, 5), kind(((6, 4), (5, 7))))
    await actor.replicate((1, ZERO), kind(((1, 6),)))
    real.clock.advance(TWO_DAYS)
    await actor.open()
    first = Held()
    await first.start(real.ask("A", None))
    for _ in range(moment):
        if first.point is not None:
            await first.go_on()
    await real.ask("A", None)
    while first.point is not None:
        await first.go_on()
    await first.result()
    await actor.collect()
    await is_whole(real)


async def test_a_disk_can_return_to_a_delta_whose_base_was_collected(real: RealService) -> None:
    actor = Actor(real)
    await actor.replicate((1, ZERO), words.Chunks((1,)))
    await actor.replicate((2, 3), words.Patches(((2, 1),)), words.Chunks((3,)))
    await actor.replicate((4, 3), words.Chunks((4,)))
    await actor.collect()
    await actor.collect()
    assert await converges(actor, (2, 3))
    await is_whole(real)


async def test_it_could_not_if_a_delta_without_its_base_counted_as_known(
    real: RealService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DatabaseIndex, "mark_damaged", _forgetful)
    monkeypatch.setattr(collection, "_drop_baseless", _forgetful)
    actor = Actor(real)
    await actor.replicate((1, ZERO), words.Chunks((1,)))
    await actor.replicate((2, 3), words.Patches(((2, 1),)), words.Chunks((3,)))
    await actor.replicate((4, 3), words.Chunks((4,)))
    await actor.collect()
    await actor.collect()
    assert not await converges(actor, (2, 3))


async def _forgetful(*ignored: object) -> None:
    """A broken rule: what it should do is not done."""


@pytest.mark.parametrize("held_at", range(4))
async def test_a_put_that_was_paused_for_longer_than_the_grace_is_not_acknowledged(
    real: RealService, held_at: int
) -> None:
    actor = Actor(real)
    await actor.open()
    put = Held()
    await put.start(actor.put(words.Chunks((1, 2)), words.LeafFrame(((1, 2),))))
    for _ in range(held_at):
        await put.go_on()
    await actor.collect()
    while put.point is not None:
        await put.go_on()
    with pytest.raises((StoreUnavailable, Fenced)):
        await put.result()
    assert await converges(actor, (1, 2))
    await is_whole(real)


async def converges(actor: Actor, leaf: Ids) -> bool:
    """Whether an agent that follows the service's answers gets its checkpoint within three sessions."""
    for _ in range(3):
        await actor.open()
        codes = await actor.have(*leaf)
        missing = tuple(v for v, code in zip(leaf, codes, strict=True) if code == words.SEND)
        await actor.put(*([words.Chunks(missing)] if missing else []), words.LeafFrame((leaf,)))
        if await actor.gets(leaf):
            return True
    return False
