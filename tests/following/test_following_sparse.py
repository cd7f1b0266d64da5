"""A sparse cut: nothing is read but the written blocks, and the replica has the chunks all the same."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.errors import LinkError
from app.agent.daemon.following import arena as arenas
from app.agent.daemon.following import delta, scattered
from app.agent.daemon.following.ahead import read_ahead
from app.agent.daemon.following.arena import Arena
from app.agent.daemon.following.cut import Cut
from app.agent.daemon.pipeline import sender
from app.agent.daemon.pipeline.blockwise import BlocksRefused, by_chunk
from app.agent.daemon.tracking.bits import BLOCK
from app.wire.chunks import CHUNK_SIZE, ZERO_ID, name_of
from app.wire.messages import Counters
from tests.following.test_following_ahead import LAST, ROOM, SIZE, UNIT, Source, source
from tests.following.test_following_bounds import KEY, LEAF, Pass, work

__all__ = ["source", "work"]

CHUNKS = 24
TABLE = tuple(chunk * CHUNK_SIZE + (7 + chunk) * BLOCK for chunk in range(CHUNKS))
"""A block in each of the first chunks."""


@pytest.fixture
def table(work: Pass, monkeypatch: pytest.MonkeyPatch) -> Pass:
    """A pass whose first chunks hold something that the gateway has; of a cut they are too many."""
    monkeypatch.setattr(delta, "MOST_LEFT", 4 * CHUNK_SIZE)
    monkeypatch.setattr(delta, "MOST_WAITING", 2 * CHUNK_SIZE)
    with work.path.open("r+b") as file:
        file.write(os.urandom(CHUNKS * CHUNK_SIZE))
    work.tracking.dirty_of(KEY).mark(0, CHUNKS * CHUNK_SIZE)
    replicate(work)
    work.disk.tally.counted = Counters()
    return work


def replicate(work: Pass) -> None:
    """What was written so far is in the head."""
    work.runner.do(work.rounds.take_all({}))
    work.rounds.delivered()
    work.tracking.dirty_of(KEY).drop_frozen()


def test_blocks_all_over_a_disk_are_all_that_is_read_and_sent(table: Pass) -> None:
    table.write(*TABLE)
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.label, outcome.cut.is_complete, outcome.rounds) == (QUIET, True, 0)
    counted = table.disk.tally.counted
    assert (counted.read, counted.patched, counted.sent) == (CHUNKS * BLOCK, CHUNKS * BLOCK, 0)
    assert table.gateway.blocks == CHUNKS
    table.require_chunks_there(list(TABLE))


def test_what_is_written_until_the_cut_is_there_as_it_was_last(table: Pass) -> None:
    table.write(*TABLE)
    table.tracking.at_drain = [lambda: table.write(TABLE[3], TABLE[3] + BLOCK, TABLE[5] + 4 * BLOCK)] * 12
    outcome = table.run(may_be_sparse=True)
    assert outcome.cut.is_complete
    assert table.gateway.blocks >= CHUNKS
    table.require_chunks_there(list(TABLE))


def test_the_final_checkpoint_of_a_cutover_names_all_its_chunks_itself(table: Pass) -> None:
    table.write(*TABLE)
    outcome = table.run(may_be_sparse=False)
    assert (outcome.cut.is_complete, outcome.rounds, table.gateway.blocks) == (True, 1, 0)
    table.require_chunks_there(list(TABLE))


def test_few_chunks_are_read_whole(table: Pass) -> None:
    table.write(*TABLE[:4])
    table.run(may_be_sparse=True)
    assert (table.gateway.blocks, table.disk.tally.counted.read) == (0, 4 * CHUNK_SIZE)
    table.require_chunks_there(list(TABLE[:4]))


def test_more_blocks_than_fit_go_by_a_round_first(table: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "MOST_LEFT", (CHUNKS - 1) * BLOCK)
    monkeypatch.setattr(delta, "MOST_WAITING", 0)
    table.write(*TABLE)
    again = TABLE[2] + BLOCK
    drains: list[Any] = [lambda: None] * 2
    table.tracking.at_drain = [*drains, lambda: table.write(again)]
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.is_complete, outcome.rounds, table.gateway.blocks) == (True, 1, CHUNKS + 1)
    assert table.disk.tally.counted.read == (CHUNKS + 1) * BLOCK
    table.require_chunks_there([*TABLE, again])


MANY = tuple(at + shift * 3 * BLOCK for at in TABLE for shift in range(8))
"""Eight places in each of the first chunks, which are three portions of CHUNK_SIZE."""


@pytest.mark.parametrize("cut_puts", [0, 2])
def test_a_round_over_scattered_blocks_goes_by_portions(
    table: Pass, monkeypatch: pytest.MonkeyPatch, cut_puts: int
) -> None:
    """Also where they are lost on their way: a portion that was sent is not in memory any more."""
    monkeypatch.setattr(delta, "MOST_LEFT", BLOCK)
    monkeypatch.setattr(scattered, "PORTION", CHUNK_SIZE)
    table.gateway.faults.cut_puts = cut_puts
    table.write(*MANY, *(at + LEAF for at in TABLE))
    assert table.run(may_be_sparse=True).rounds == 1
    assert table.gateway.blocks == CHUNKS
    assert (table.disk.tally.counted.read > CHUNKS * 9 * BLOCK) == bool(cut_puts)
    table.require_chunks_there([*MANY, *(at + LEAF for at in TABLE)])


def test_a_request_has_no_more_nameless_records_than_the_service_takes(
    table: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that compress well are many before a request is large."""
    monkeypatch.setattr(delta, "MOST_LEFT", BLOCK)
    monkeypatch.setattr(scattered, "PORTION", CHUNK_SIZE)
    monkeypatch.setattr(sender, "MAX_BLOCKS_RECORDS", CHUNKS // 2)
    table.write(*MANY)
    puts = table.gateway.puts
    assert table.run(may_be_sparse=True).rounds == 1
    assert table.gateway.blocks == CHUNKS
    assert table.gateway.most_blocks <= CHUNKS // 2
    assert table.gateway.puts - puts >= 2
    table.require_chunks_there(list(MANY))


@pytest.mark.parametrize("fault", ["refused", "slow"])
def test_a_round_that_cannot_go_by_blocks_goes_by_chunks(
    table: Pass, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(delta, "MOST_LEFT", BLOCK)
    monkeypatch.setattr(delta, "MOST_WAITING", 0)
    if fault == "slow":
        monkeypatch.setattr(scattered, "SECONDS", -1.0)
    else:
        table.gateway.faults.refuse_blocks = 1
    table.write(*TABLE)
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.is_complete, outcome.rounds) == (True, 1)
    assert table.disk.tally.counted.read >= CHUNKS * CHUNK_SIZE
    table.require_chunks_there(list(TABLE))


def test_a_chunk_that_is_known_whole_is_named_here(table: Pass) -> None:
    """One that was zero, one all of whose blocks were written, and one that became zero by that."""
    zeros = [(CHUNKS + number) * CHUNK_SIZE for number in range(8)]
    table.write(*TABLE[:4], *zeros)
    with table.path.open("r+b") as file:
        file.write(os.urandom(CHUNK_SIZE) + bytes(CHUNK_SIZE))
    table.tracking.dirty_of(KEY).mark(0, 2 * CHUNK_SIZE)
    table.run(may_be_sparse=True)
    assert (table.gateway.blocks, table.disk.tally.counted.zero) == (2, CHUNK_SIZE)
    table.require_chunks_there([0, TABLE[2], TABLE[3], *zeros])
    (ids,) = (leaf for leaf in table.gateway.leaves.values() if leaf[32:64] == ZERO_ID)
    assert ids[:32] != ZERO_ID


def test_blocks_of_zeros_that_leave_nothing_give_the_zero_chunk(table: Pass) -> None:
    with table.path.open("r+b") as file:
        file.write(bytes(CHUNK_SIZE - BLOCK))
    table.tracking.dirty_of(KEY).mark(0, CHUNK_SIZE - BLOCK)
    replicate(table)
    with table.path.open("r+b") as file:
        file.write(bytes(CHUNK_SIZE))
    table.tracking.dirty_of(KEY).mark(CHUNK_SIZE - BLOCK, BLOCK)
    table.write(*TABLE[1:])
    table.run(may_be_sparse=True)
    assert table.gateway.blocks == CHUNKS
    assert any(leaf[:32] == ZERO_ID != leaf[32:64] for leaf in table.gateway.leaves.values())
    table.require_chunks_there(list(TABLE[1:]))


def test_blocks_that_were_lost_on_their_way_are_sent_again(table: Pass) -> None:
    table.write(*TABLE)
    table.gateway.faults.cut_puts = 2
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.is_complete, outcome.rounds) == (True, 0)
    table.require_chunks_there(list(TABLE))


def test_chunks_on_which_the_service_cannot_build_are_read_whole(table: Pass) -> None:
    """Its own chunk is damaged, perhaps: a round heals it, and the next cut has little left."""
    table.write(*TABLE)
    table.gateway.faults.refuse_blocks = 1
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.label, outcome.cut.is_complete, outcome.rounds) == (QUIET, True, 1)
    assert table.gateway.blocks == CHUNKS
    table.require_chunks_there(list(TABLE))


def test_a_cut_that_the_service_refuses_is_no_moment(table: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last cut that is tried is quiet, but what is sent in its place was read from a running source."""
    monkeypatch.setattr(table.rounds, "is_written", iter([True, True, True, False]).__next__)
    monkeypatch.setattr(table.owner, "before", lambda: table.write(*TABLE))
    handed = 0

    def take(_keys: Any, _supply: Any) -> None:
        nonlocal handed
        handed += 1
        if handed == 4:
            raise BlocksRefused

    monkeypatch.setattr(table.runner, "take_blocks", take)
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.label, outcome.cut.is_complete, handed) == (FUZZY, False, 4)


def test_blocks_in_many_places_go_by_a_round_before_programs_are_held(
    table: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "FEW_PLACES", CHUNKS - 1)
    table.write(*TABLE)
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.is_complete, outcome.rounds, table.owner.cuts) == (True, 1, 1)
    assert table.gateway.blocks == CHUNKS


def test_where_rounds_leave_as_many_places_the_cut_takes_them(
    table: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "FEW_PLACES", CHUNKS - 1)
    take = table.rounds.take_all

    def and_written(extra: Any) -> Any:
        taken = take(extra)
        table.write(*TABLE)
        return taken

    def written_again() -> Any:
        taken = retake()
        table.write(*TABLE)
        return taken

    retake = table.rounds.take
    monkeypatch.setattr(table.rounds, "take_all", and_written)
    monkeypatch.setattr(table.rounds, "take", written_again)
    table.write(*TABLE)
    outcome = table.run(may_be_sparse=True)
    assert (outcome.cut.label, outcome.rounds) == (QUIET, 1 + delta.FRUITLESS_ROUNDS)
    table.require_chunks_there(list(TABLE))


def test_what_the_service_named_is_not_kept_for_the_whole_session(table: Pass) -> None:
    table.write(*TABLE)
    table.run(may_be_sparse=True)
    assert table.runner._session.named == {}


def test_a_service_that_keeps_a_name_back_makes_no_checkpoint(table: Pass) -> None:
    table.write(*TABLE)
    table.gateway.faults.keep_names_back = 1
    with pytest.raises(LinkError, match="did not say what it made"):
        table.run(may_be_sparse=True)


def test_what_does_not_count_is_zero_in_the_replica(table: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap that was copied before it became swap: its blocks are done once more, as zeros."""
    swap = Extents.of([(TABLE[4], TABLE[4] + BLOCK)])
    capture = table.rounds.disks[0].capture
    capture.omitted = capture.unwritten = capture.blanked = swap
    monkeypatch.setattr(table.rounds, "note_swap", lambda _: None)
    table.write(*TABLE)
    table.run(may_be_sparse=True)
    with table.path.open("rb") as file:
        file.seek(4 * CHUNK_SIZE)
        plain = bytearray(file.read(CHUNK_SIZE))
    at = TABLE[4] % CHUNK_SIZE
    plain[at : at + BLOCK] = bytes(BLOCK)
    assert name_of(plain) in table.gateway.chunks
    table.require_chunks_there([*TABLE[:4], *TABLE[5:]])


def test_a_block_that_cannot_be_read_is_zero_and_told_and_others_stay_so(
    table: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, before = TABLE[6], TABLE[6] + 9 * BLOCK
    table.disk._damaged = {0: [(before, before + BLOCK), (TABLE[8], TABLE[8] + BLOCK)]}

    def read(reader: DiskReader, start: int, view: memoryview, damaged: list[tuple[int, int]]) -> None:
        read_span(reader, start, view, damaged)
        if start == bad:
            view[:] = bytes(view.nbytes)
            damaged.append((start, start + BLOCK))

    monkeypatch.setattr(arenas, "read_span", read)
    table.write(*TABLE)
    table.run(may_be_sparse=True)
    assert list(table.disk.damaged) == [(bad, bad + BLOCK), (before, before + BLOCK)]
    table.require_chunks_there([*TABLE[:6], *TABLE[7:]])


def test_a_cut_that_is_too_large_twice_reads_whole_chunks(
    table: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = list[bool]()

    def cut(_: Any, arena: Arena, *__: Any) -> Cut:
        cuts.append(arena.is_sparse)
        return Cut(label=FUZZY)

    monkeypatch.setattr(delta, "cut", cut)
    monkeypatch.setattr(table.owner, "before", lambda: table.write(*TABLE))
    table.write(*TABLE)
    assert not table.run(may_be_sparse=True).cut.is_complete
    assert cuts == [True, True, False, False]


def test_a_sparse_cut_reads_blocks_ahead_and_only_what_was_written_since(source: Source) -> None:
    source.write(3, 70, 130, LAST)
    with Arena(ROOM, is_sparse=True) as arena:
        read_ahead(source.rounds, arena, 0)
        source.write(3, 4, 300, LAST)
        done = source.cut(arena)
        assert (done.label, done.is_complete) == (FROZEN, True)
        assert done.read_bytes == 3 * BLOCK + 512
        data, seen = source.path.read_bytes(), set[int]()
        for reading in done.readings:
            for low, high, at in reading.places():
                assert reading.view[at : at + high - low] == data[low:high]
                seen |= set(range(low // BLOCK, -(-high // BLOCK)))
        assert seen == {3, 4, 70, 130, 300, LAST}


def test_leaves_of_a_sparse_cut_are_kept_apart(source: Source) -> None:
    source.write(3, 70)
    (wanted,) = source.rounds.take_for_cut(is_sparse=True)
    assert (wanted.key.index, wanted.runs) == (0, ((3, 1), (70, 1)))
    (whole,) = source.rounds.take_for_cut(is_sparse=False)
    assert whole.runs == ((0, 2 * UNIT // BLOCK),)
    assert source.rounds.left().blocks == 2 * BLOCK
    assert source.rounds.left().chunks == 2 * UNIT
    assert SIZE < LEAF


@given(st.sets(st.integers(0, 200), max_size=60))
def test_pieces_are_cut_at_chunks_and_none_is_lost(blocks: set[int]) -> None:
    data = memoryview(os.urandom(201 * BLOCK))
    ranges = Extents.of((block * BLOCK, (block + 1) * BLOCK) for block in blocks)
    pieces = [(start, data[start:end]) for start, end in ranges]
    found = dict[int, memoryview]()
    for number, parts in by_chunk(pieces, 16 * BLOCK):
        for start, view in parts:
            assert 0 <= start < start + view.nbytes <= 16 * BLOCK
            for at in range(0, view.nbytes, BLOCK):
                found[number * 16 + (start + at) // BLOCK] = view[at : at + BLOCK]
    assert found.keys() == blocks
    assert all(view == data[block * BLOCK : (block + 1) * BLOCK] for block, view in found.items())
