"""What a pass over writes may hold in memory, and what it may do while the source is frozen."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.agent.daemon.capture.activity import FUZZY, QUIET
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.following import ahead, arena, beginning, delta
from app.agent.daemon.following.capture import FollowedCapture, RoundDirt
from app.agent.daemon.following.delta import Delta
from app.agent.daemon.following.rounds import FollowedDisk, Rounds
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.pipeline.base import BaseLeaves, LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafTask
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stop
from app.agent.daemon.tracking.bits import BLOCK
from app.agent.daemon.tracking.blocks import BlockSet
from app.wire.chunks import CHUNK_SIZE, ID_BYTES
from app.wire.messages import Disk, Open
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode
from tests.daemon.fake_gateway import CREDENTIAL, FakeGateway
from tests.daemon.fake_server import serve
from tests.following.fake_tracking import FakeTracking

LEAF = LEAF_IDS * CHUNK_SIZE
LEAVES = 4
SIZE = LEAVES * LEAF
KEY = "disk"
PLACES = tuple(index * LEAF + 5 * BLOCK for index in range(LEAVES))


class Owner:
    """Notes how often the source was to be frozen, and whether that is over."""

    def __init__(self) -> None:
        self.cuts = 0
        self.is_told = threading.Event()

    def before(self) -> None:
        """A cut comes."""
        self.cuts += 1

    def after(self) -> None:
        """It is over."""
        self.is_told.set()


class Pass:
    """A pass over a disk of four leaves whose head holds zeros, and the gateway that it goes to."""

    def __init__(self, folder: Path, gateway: FakeGateway, link: Link) -> None:
        self.gateway = gateway
        self.path = folder / "disk.img"
        with self.path.open("wb") as file:
            file.truncate(SIZE)
        self.tracking = FakeTracking(folder, SIZE, KEY)
        session = Service(link).open(Open("instance", "", (Disk(KEY, str(self.path), SIZE, 512),)))
        capture = FollowedCapture(self.tracking, KEY, Extents(), Extents(), ())
        leaves = BaseLeaves(
            lambda *_: b"", LEAVES, RootNode(SIZE, CHUNK_SIZE, ZERO_LEAF * LEAVES), LeafCache()
        )
        dirt = RoundDirt(self.tracking, KEY)
        self.disk = DiskPass(0, DiskReader(self.path), session.opened.disks[0], capture, leaves, dirt)
        self.rounds = Rounds(self.tracking, [FollowedDisk(self.disk, capture, dirt)])
        self.runner = PassRunner(session, (self.disk,), Stop())
        self.owner = Owner()

    def write(self, *places: int) -> None:
        """Write a block at each of these places; the tracker tells of it."""
        with self.path.open("r+b") as file:
            for at in places:
                file.seek(at)
                file.write(at.to_bytes(8, "big") + b"written")
                self.tracking.dirty_of(KEY).mark(at, BLOCK)

    def write_in_rounds(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        """At so many places something is written while a round is under way, from the first one on."""
        left = list(numbers)

        def then_written(take: Callable[..., list[LeafTask]]) -> Callable[..., list[LeafTask]]:
            def taken(*arguments: Any) -> list[LeafTask]:
                tasks = take(*arguments)
                self.write(*PLACES[: left.pop(0) if left else 0])
                return tasks

            return taken

        for name in ("take_all", "take"):
            monkeypatch.setattr(self.rounds, name, then_written(getattr(self.rounds, name)))

    def run(self, *extra: int, may_be_sparse: bool = False) -> delta.Outcome:
        """The whole pass; `extra` are places of blocks to be read besides."""
        blocks = BlockSet()
        for at in extra:
            blocks.add(at, BLOCK)
        nothing = OnDisks((), (), (), is_complete=True)
        made = Delta(self.rounds, self.runner, None, lambda: nothing, self.owner, may_be_sparse=may_be_sparse)
        outcome = made.run({KEY: blocks}, [])
        self.runner.settle()
        return outcome

    def require_chunks_there(self, places: list[int]) -> None:
        """The chunks of these places are with the gateway, as the disk has them."""
        with self.path.open("rb") as file:
            for at in places:
                name = list(self.disk.root.leaf_hashes())[at // LEAF]
                slot = at % LEAF // CHUNK_SIZE * ID_BYTES
                file.seek(at // CHUNK_SIZE * CHUNK_SIZE)
                chunk = self.gateway.chunks[self.gateway.leaves[name][slot : slot + ID_BYTES]]
                assert chunk == file.read(CHUNK_SIZE)

    def require_all_there(self) -> None:
        """Everything that was written is with the gateway, leaf and chunk."""
        with self.path.open("rb") as file:
            for index, name in enumerate(self.disk.root.leaf_hashes()):
                file.seek(index * LEAF)
                assert self.gateway.chunks[self.gateway.leaves[name][:32]] == file.read(CHUNK_SIZE)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Pass]:
    gateway = FakeGateway()
    server = serve(gateway)
    link = Link(Endpoint.parse(gateway.url), Stop(), CREDENTIAL)
    made = Pass(tmp_path, gateway, link)
    yield made
    made.tracking.close(keep=False)
    made.disk.reader.close()
    link.close()
    server.shutdown()
    server.server_close()


def test_a_first_round_of_more_leaves_than_are_kept_holds_none_of_them(
    work: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After days of pause nearly every leaf was written to: kept, they were gigabytes of memory."""
    monkeypatch.setattr(delta, "MOST_LEAVES", LEAVES - 1)
    work.write(*PLACES)
    work.gateway.faults.cut_puts = 1
    outcome = work.run()
    assert (outcome.cut.label, outcome.cut.is_complete, work.owner.cuts) == (FUZZY, False, 0)
    assert work.disk.kept_leaves == frozenset()
    work.require_all_there()


def test_rounds_that_would_keep_too_many_leaves_end_without_a_cut(
    work: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "MOST_LEAVES", LEAVES - 1)
    monkeypatch.setattr(delta, "MOST_LEFT", 0)
    work.write(*PLACES[:2])
    work.tracking.at_drain = [lambda: None, lambda: work.write(*PLACES[2:])]
    outcome = work.run()
    assert (outcome.cut.is_complete, outcome.rounds, work.owner.cuts) == (False, 1, 0)
    left = work.tracking.dirty_of(KEY).written()
    assert list(left.extents()) == [(at, at + BLOCK) for at in PLACES[2:]]


def test_a_disk_that_does_not_answer_does_not_keep_the_owners_programs_held(
    work: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their hooks may have locked a database: it waits for a disk's answer only as long as is allowed."""
    told = list[bool]()

    def read(*arguments: Any) -> None:
        if not told:
            told.append(False)
            told[0] = work.owner.is_told.wait(20)
        read_span(*arguments)

    monkeypatch.setattr(arena, "read_span", read)
    monkeypatch.setattr(ahead, "SECONDS", 0.2)
    work.write(*PLACES)
    outcome = work.run()
    assert told == [True]
    assert (outcome.cut.label, outcome.cut.is_complete, outcome.rounds) == (QUIET, True, 1)
    work.require_all_there()


def test_what_waits_for_the_cut_has_room_in_it(work: Pass) -> None:
    work.write(*PLACES)
    work.rounds.take_all({})
    assert work.rounds.left().chunks == LEAVES * CHUNK_SIZE
    work.rounds.delivered()
    assert work.rounds.left().chunks == 0


def test_little_that_was_written_waits_for_the_cut(work: Pass) -> None:
    work.write(*PLACES)
    outcome = work.run()
    assert (outcome.rounds, outcome.read_bytes, outcome.cut.label) == (0, 0, QUIET), "it was read ahead"
    work.require_all_there()


def test_what_is_written_again_and_again_until_the_cut_is_there_as_it_was_last(work: Pass) -> None:
    work.write(*PLACES)
    work.tracking.at_drain = [lambda: work.write(PLACES[1] + BLOCK, PLACES[3])] * 8
    assert work.run().cut.is_complete
    work.require_all_there()


def test_a_bad_sector_is_tried_again_before_the_source_is_frozen(work: Pass) -> None:
    """A disk takes seconds for one: the host would stand still for them at each checkpoint."""
    outcome = work.run(PLACES[1])
    assert (outcome.rounds, outcome.read_bytes, outcome.cut.label) == (1, 0, QUIET)


def test_free_space_that_writes_cut_into_too_many_ranges_is_read(
    work: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit carries all ranges: in the end it was larger than the service takes."""
    monkeypatch.setattr(beginning, "MOST_OMITTED", 2)
    few = Extents.of([(LEAF, LEAF + 9 * BLOCK), (2 * LEAF, 2 * LEAF + BLOCK)])
    assert not len(beginning.worn(few))
    work.disk.capture.omitted = Extents.of([*few, (3 * LEAF, 3 * LEAF + BLOCK)])
    scraps = beginning.worn(work.disk.capture.omitted)
    assert list(scraps) == [(index * LEAF, index * LEAF + BLOCK) for index in (2, 3)]
    work.run(*(start for start, _ in scraps))
    assert list(work.disk.capture.omitted) == [(LEAF, LEAF + 9 * BLOCK)]


def test_chunks_that_will_be_written_to_again_are_sent_once(
    work: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and logs go out in a round of their own; a table waits for the cut, and what is written to it
    meanwhile is in it."""
    monkeypatch.setattr(delta, "MOST_LEFT", 8 * CHUNK_SIZE)
    monkeypatch.setattr(delta, "MOST_WAITING", 4 * CHUNK_SIZE)
    table = [chunk * CHUNK_SIZE + block * BLOCK for chunk in range(3) for block in (1, 40)]
    files = [LEAF + chunk * CHUNK_SIZE for chunk in range(0, 60, 2)]
    work.write(*table, *files)
    again = CHUNK_SIZE + 9 * BLOCK
    work.tracking.at_drain = [lambda: None, lambda: work.write(again)]
    outcome = work.run()
    assert (outcome.cut.label, outcome.cut.is_complete, outcome.rounds) == (QUIET, True, 1)
    assert work.disk.tally.counted.read == (len(files) + 3) * CHUNK_SIZE
    work.require_chunks_there(table + files + [again])


def test_what_waited_is_sent_where_no_cut_comes(work: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    """More leaves are written to meanwhile than are kept: the checkpoint has what was taken all the same."""
    monkeypatch.setattr(delta, "MOST_LEAVES", LEAVES - 1)
    monkeypatch.setattr(delta, "MOST_LEFT", CHUNK_SIZE)
    monkeypatch.setattr(delta, "MOST_WAITING", CHUNK_SIZE)
    table, file = [7 * BLOCK, 20 * BLOCK], LEAF + 5 * BLOCK
    work.write(*table, file)
    work.tracking.at_drain = [lambda: None, lambda: work.write(*PLACES[1:])]
    outcome = work.run()
    assert (outcome.cut.is_complete, outcome.rounds, work.owner.cuts) == (False, 2, 0)
    work.require_chunks_there([*table, file])
    left = work.tracking.dirty_of(KEY).written()
    assert list(left.extents()) == [(at, at + BLOCK) for at in PLACES[1:]]


def test_rounds_end_where_the_writers_are_as_fast(work: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round leaves as much as the one before it: twelve of them would only make the copy older."""
    monkeypatch.setattr(delta, "MOST_LEFT", 2 * CHUNK_SIZE)
    monkeypatch.setattr(delta, "MOST_WAITING", 0)
    work.write(*PLACES)
    work.write_in_rounds(monkeypatch, *[LEAVES] * 20)
    outcome = work.run()
    assert (outcome.cut.label, outcome.cut.is_complete, work.owner.cuts) == (FUZZY, False, 0)
    assert outcome.rounds == 1 + delta.FRUITLESS_ROUNDS
    assert "during the last of 3 rounds" in outcome.detail


def test_rounds_go_on_as_long_as_they_leave_less(work: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "MOST_LEFT", CHUNK_SIZE)
    monkeypatch.setattr(delta, "MOST_WAITING", 0)
    work.write(*PLACES)
    work.write_in_rounds(monkeypatch, 4, 3, 2, 1)
    outcome = work.run()
    assert (outcome.cut.label, outcome.cut.is_complete, outcome.rounds) == (QUIET, True, 4)
