"""Puts that go wrong: each refused by name, and what came before in the same stream makes no checkpoint."""

import random
import select
import struct
import time

import pytest
import zstandard

from app.wire.chunks import CHUNK_SIZE, MAX_CHUNK_SIZE, MIB, chunk_id
from app.wire.codec import Codec
from app.wire.frames import (
    ChunkRecord,
    LeafPatchRecord,
    PatchRecord,
    ProofRecord,
    encode_chunks,
    encode_leaf_patches,
    encode_leaves,
    encode_patches,
    encode_proofs,
    encode_root,
)
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, HAVE_SEND, PutResult
from app.wire.tree import leaf_changes, leaf_hash
from tests.gateway.conftest import NEW, OLD, unseen
from tests.gateway.hand_agent import END, HandAgent, answer, send_piece
from tests.gateway.service import Gateway
from tests.replication.agent_double import chunk_records, chunks_of, leaves_of, root_of

SOURCE = random.Random(23)
GOOD = b"".join(encode_chunks(chunk_records(NEW["disk-a"])))


def whole(record: ChunkRecord) -> bytes:
    """A frame of one record."""
    return b"".join(encode_chunks([record]))


def header(kind: int, count: int, length: int, *, version: int = 1) -> bytes:
    """The beginning of a frame."""
    return struct.pack("!2sBBIII", b"g2", version, kind, count, length, 0)


NOISE = SOURCE.randbytes(CHUNK_SIZE)
BOMB = zstandard.ZstdCompressor().compress(bytes(64 * MIB))
MISMATCH = whole(ChunkRecord(chunk_id(b"other"), Codec.NONE, CHUNK_SIZE, NOISE))
ZEROS = whole(ChunkRecord(chunk_id(bytes(4096)), Codec.NONE, 4096, bytes(4096)))
BAD = {
    "nonsense": (b"POST /agent/v1 HTTP/1.1", (400, "BAD_FRAME")),
    "unknown frame version": (header(1, 1, 44, version=9), (400, "BAD_FRAME")),
    "unknown frame type": (header(77, 1, 44), (400, "BAD_FRAME")),
    "oversized frame": (header(1, 1, 1 << 31), (400, "BAD_FRAME")),
    "too many records": (header(1, 1 << 20, 1 << 20), (400, "BAD_FRAME")),
    "truncated header": (GOOD[:7], (400, "BAD_FRAME")),
    "truncated payload": (GOOD[:-1], (400, "BAD_FRAME")),
    "no end": (GOOD, (400, "BAD_FRAME")),
    "no body": (b"", (400, "BAD_FRAME")),
    "bytes after the end": (END + b"x", (400, "BAD_FRAME")),
    "a count that lies": (header(4, 2, 64) + bytes(64) + END, (400, "BAD_FRAME")),
    "a root": (b"".join(encode_root(root_of(NEW["disk-a"]).encode())) + END, (400, "BAD_FRAME")),
    "a leaf patch without changes": (header(7, 1, 66) + bytes(66) + END, (400, "BAD_FRAME")),
    "a leaf patch beyond its leaf": (
        header(7, 1, 100) + bytes(64) + b"\x00\x01" + b"\x04\x00" + bytes(32) + END,
        (400, "BAD_FRAME"),
    ),
    "hash mismatch": (MISMATCH + END, (422, "HASH_MISMATCH")),
    "zeros by another name": (ZEROS + END, (422, "HASH_MISMATCH")),
    "a bomb": (
        whole(ChunkRecord(b"i" * 32, Codec.ZSTD, CHUNK_SIZE, BOMB)) + END,
        (400, "BAD_COMPRESSED_DATA"),
    ),
    "a chunk of the wrong length": (
        whole(ChunkRecord(chunk_id(NOISE), Codec.NONE, MAX_CHUNK_SIZE, NOISE)) + END,
        (400, "BAD_COMPRESSED_DATA"),
    ),
    "damaged compression": (
        whole(ChunkRecord(b"i" * 32, Codec.ZSTD, 99, b"garbage")) + END,
        (400, "BAD_COMPRESSED_DATA"),
    ),
    "extents outside": (
        b"".join(encode_patches([PatchRecord(b"n" * 32, b"b" * 32, 4096, ((0, 1),), Codec.NONE, 4096, b"")]))[
            :-2
        ]
        + b"\x00\x09"
        + END,
        (400, "BAD_PATCH"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_stream_is_refused_by_name(steady: HandAgent, name: str) -> None:
    stream, refusal = BAD[name]
    for before in (b"", GOOD):
        refused = steady.try_put(before, stream)
        assert refused.refusal == refusal
        assert refused.problem["detail"]


def test_what_a_refused_put_had_sent_is_no_checkpoint(host: HandAgent) -> None:
    disk = unseen()
    chunks = b"".join(encode_chunks(chunk_records(disk["disk-a"])))
    leaves = b"".join(encode_leaves(leaves_of(disk["disk-a"])))
    assert host.try_put(chunks, leaves, MISMATCH, END).status == 422
    assert host.try_commit(host.message(disk)).refusal == (409, "MISSING_CHUNKS")


def test_a_put_can_be_repeated_after_any_refusal(host: HandAgent, gateway: Gateway) -> None:
    agent = gateway.enrolled()
    agent.open({"disk-a": len(OLD["disk-a"])})
    assert agent.try_put(GOOD, MISMATCH).status == 422
    agent.put_disk(OLD["disk-a"])
    assert agent.try_commit(agent.message(OLD)).status == 200


def test_an_agent_that_hangs_up_leaves_nothing_half_written(host: HandAgent) -> None:
    disk = unseen()
    records = chunk_records(disk["disk-a"])
    connection = host.caller.begin(host.path("/put"))
    send_piece(connection, b"".join(encode_chunks(records)))
    send_piece(connection, b"".join(encode_leaves(leaves_of(disk["disk-a"])))[:1000])
    connection.close()
    assert host.try_commit(host.message(disk)).refusal == (409, "MISSING_LEAVES")
    ids = b"".join(record.id for record in records)
    assert set(host.caller.call("POST", host.path("/have"), ids).body) == {HAVE_SEND}


def test_chunks_of_another_server_must_be_proved(gateway: Gateway, host: HandAgent) -> None:
    other = gateway.enrolled()
    other.open({"disk-a": len(OLD["disk-a"])})
    records = chunk_records(OLD["disk-a"])
    ids = b"".join(record.id for record in records)
    assert set(other.caller.call("POST", other.path("/have"), ids).body) == {HAVE_PROVE}
    forged = [ProofRecord(record.id, bytes(32)) for record in records]
    result = other.put(encode_proofs(forged))
    assert {refused.code for refused in result.refused} == {"PROOF_REFUSED"}
    assert set(other.caller.call("POST", other.path("/have"), ids).body) == {HAVE_PROVE}
    assert set(host.caller.call("POST", host.path("/have"), ids).body) == {HAVE_KNOWN}
    assert other.caller.call("POST", other.path("/signatures"), ids).body == bytes(4 * len(records))


def test_a_leaf_goes_as_a_patch_on_one_of_the_base_and_on_no_leaf_of_another_server(
    gateway: Gateway,
) -> None:
    agent, other = gateway.enrolled(), gateway.enrolled()
    agent.replicate(OLD)
    changed = {"disk-a": SOURCE.randbytes(CHUNK_SIZE) + OLD["disk-a"][CHUNK_SIZE:]}
    before, after = leaves_of(OLD["disk-a"])[0], leaves_of(changed["disk-a"])[0]
    patch = LeafPatchRecord(leaf_hash(before), leaf_hash(after), leaf_changes(before, after))
    for each in (agent, other):
        each.open({"disk-a": len(OLD["disk-a"])})
    done = other.put(encode_leaf_patches([patch]))
    assert [(one.id, one.code) for one in done.refused] == [(patch.leaf.hex(), "LEAF_BASE_MISSING")]
    wrong = LeafPatchRecord(patch.base, b"n" * 32, patch.changes)
    chunks = encode_chunks(chunk_records(changed["disk-a"]))
    done = agent.put(chunks, encode_leaf_patches([wrong, patch]))
    assert [(one.id, one.code) for one in done.refused] == [(wrong.leaf.hex(), "LEAF_MISMATCH")]
    assert (done.leaves, agent.try_commit(agent.message(changed)).status) == (1, 200)


def test_a_patch_of_what_the_server_does_not_hold_is_refused_and_the_rest_is_kept(host: HandAgent) -> None:
    base = chunk_id(chunks_of(OLD["disk-a"])[0])
    wrong = PatchRecord(b"n" * 32, base, CHUNK_SIZE, ((0, 1),), Codec.NONE, 4096, bytes(4096))
    foreign = PatchRecord(b"m" * 32, b"b" * 32, CHUNK_SIZE, ((0, 1),), Codec.NONE, 4096, bytes(4096))
    fresh = SOURCE.randbytes(4096)
    kept = encode_chunks([ChunkRecord(chunk_id(fresh), Codec.NONE, 4096, fresh)])
    result = host.put(encode_patches([wrong, foreign]), kept)
    assert [refused.code for refused in result.refused] == ["PATCH_MISMATCH", "BASE_MISSING"]
    assert result.stored == 1


def test_a_patch_that_gives_zeros_is_refused(steady: HandAgent) -> None:
    short = chunks_of(OLD["disk-a"])[-1]
    record = PatchRecord(
        chunk_id(bytes(4096)), chunk_id(short), 4096, ((0, 1),), Codec.NONE, 4096, bytes(4096)
    )
    assert [one.code for one in steady.put(encode_patches([record])).refused] == ["PATCH_MISMATCH"]


def test_many_proofs_and_patches_in_one_frame_are_all_answered(steady: HandAgent) -> None:
    proofs = [ProofRecord(SOURCE.randbytes(32), bytes(32)) for _ in range(200)]
    patches = [
        PatchRecord(SOURCE.randbytes(32), b"b" * 32, 4096, ((0, 1),), Codec.NONE, 4096, bytes(4096))
        for _ in range(200)
    ]
    result = steady.put(encode_proofs(proofs), encode_patches(patches))
    assert len(result.refused) == 400


def test_a_refusal_can_be_read_while_the_body_is_still_going_out(steady: HandAgent) -> None:
    connection = steady.caller.begin(steady.path("/put"))
    send_piece(connection, MISMATCH)
    deadline = time.monotonic() + 10
    while not select.select([connection.sock], [], [], 0)[0]:
        assert time.monotonic() < deadline
        send_piece(connection, bytes(64 * 1024))
    assert answer(connection).refusal == (422, "HASH_MISMATCH")
    connection.close()


def test_a_refusal_can_be_read_after_a_long_body_that_nobody_wanted(steady: HandAgent) -> None:
    connection = steady.caller.begin(steady.path("/put"))
    send_piece(connection, MISMATCH)
    for _ in range(64):
        send_piece(connection, bytes(MIB))
    send_piece(connection, b"")
    assert answer(connection).refusal == (422, "HASH_MISMATCH")
    connection.close()


def test_pieces_of_any_size_make_the_same_put(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    agent.open({"disk-a": len(NEW["disk-a"])})
    stream = GOOD + b"".join(encode_leaves(leaves_of(NEW["disk-a"]))) + END
    sizes = [1, 15, 17, 5000, 100_000]
    parts, at = [], 0
    while at < len(stream):
        step = SOURCE.choice(sizes)
        parts.append(stream[at : at + step])
        at += step
    result = agent.try_put(*parts).good(PutResult)
    assert result.stored + result.known == len(chunk_records(NEW["disk-a"]))
    assert agent.try_commit(agent.message(NEW)).status == 200
