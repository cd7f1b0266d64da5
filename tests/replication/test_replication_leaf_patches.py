"""A leaf patch is rebuilt on a leaf that the server may build on, and on no other; nothing else is learnt."""

import random

import pytest

from app.migration.replication.tables import NodeRow
from app.migration.services import Services
from app.store.layout import NodeKind
from app.wire.chunks import CHUNK_SIZE, chunk_id
from app.wire.frames import LeafPatchRecord, encode_chunks, encode_leaf_patches, encode_leaves
from app.wire.messages import Refused
from app.wire.tree import LEAF_BYTES, changed_leaf, leaf_changes, leaf_hash
from tests.replication.agent_double import AgentDouble, chunk_records, leaves_of

RANDOM = random.Random(11)
DATA = RANDOM.randbytes(3 * CHUNK_SIZE)
CHANGED = RANDOM.randbytes(CHUNK_SIZE) + DATA[CHUNK_SIZE:]
BASE, NEW = leaves_of(DATA)[0], leaves_of(CHANGED)[0]


def patch(base: bytes = BASE, new: bytes = NEW) -> LeafPatchRecord:
    """What turns one leaf into the other."""
    return LeafPatchRecord(leaf_hash(base), leaf_hash(new), leaf_changes(base, new))


def refused(record: LeafPatchRecord, code: str) -> tuple[Refused, ...]:
    """The refusal of one record."""
    return (Refused(record.leaf.hex(), code),)


async def following(services: Services, name: str = "web-1") -> AgentDouble:
    """An agent with a checkpoint of DATA and an open session."""
    agent = await AgentDouble.enrolled(services, name)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    return agent


async def test_a_patch_on_a_leaf_of_the_base_gives_the_leaf_that_a_commit_names(services: Services) -> None:
    agent = await following(services)
    done = await agent.put(encode_chunks(chunk_records(CHANGED)), encode_leaf_patches([patch()]))
    assert (done.leaves, done.refused) == (1, ())
    assert services.store.read_leaf(leaf_hash(NEW)) == NEW
    assert (await agent.commit({"disk-a": CHANGED})).number == 2


async def test_a_patch_may_stand_on_a_leaf_that_the_session_put_before(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": len(DATA)})
    await agent.put(encode_leaves([BASE]))
    done = await agent.put(encode_chunks(chunk_records(CHANGED)), encode_leaf_patches([patch()]))
    assert (done.leaves, done.refused) == (1, ())
    again = changed_leaf(NEW, ((5, chunk_id(DATA[:CHUNK_SIZE])),))
    same_put = await agent.put(encode_leaves([BASE]), encode_leaf_patches([patch(), patch(NEW, again)]))
    assert (same_put.leaves, same_put.refused) == (3, ())
    assert (await agent.commit({"disk-a": CHANGED})).number == 1


async def test_a_repeated_patch_changes_nothing(services: Services) -> None:
    agent = await following(services)
    frames = (encode_chunks(chunk_records(CHANGED)), encode_leaf_patches([patch(), patch()]))
    for _ in range(2):
        assert (await agent.put(*frames)).leaves == 1
    await agent.commit({"disk-a": CHANGED})
    assert (await agent.put(*frames)).refused == refused(patch(), "LEAF_BASE_MISSING") * 2


async def test_a_leaf_of_another_server_is_no_base_whoever_knows_its_hash(services: Services) -> None:
    await following(services, "web-1")
    thief = await AgentDouble.enrolled(services, "web-2")
    await thief.replicate({"disk-a": RANDOM.randbytes(CHUNK_SIZE)})
    await thief.open({"disk-a": len(DATA)})
    unknown = patch(RANDOM.randbytes(LEAF_BYTES), NEW)
    for guess in (patch(), LeafPatchRecord(patch().base, b"n" * 32, patch().changes), unknown):
        done = await thief.put(encode_leaf_patches([guess]))
        assert done.refused == refused(guess, "LEAF_BASE_MISSING"), "right or wrong, the answer is the same"
        assert done.leaves == 0


async def test_a_leaf_of_an_older_checkpoint_is_no_base(services: Services) -> None:
    agent = await following(services)
    await agent.put_disk(CHANGED)
    await agent.commit({"disk-a": CHANGED})
    await agent.open({"disk-a": len(DATA)})
    assert (await agent.put(encode_leaf_patches([patch()]))).refused == refused(patch(), "LEAF_BASE_MISSING")


async def test_changes_that_do_not_give_the_leaf_are_refused_and_the_rest_is_kept(services: Services) -> None:
    agent = await following(services)
    wrong = LeafPatchRecord(leaf_hash(BASE), b"n" * 32, patch().changes)
    done = await agent.put(encode_leaf_patches([wrong, patch()]))
    assert (done.leaves, done.refused) == (1, refused(wrong, "LEAF_MISMATCH"))


@pytest.mark.parametrize("fate", ["lost", "damaged", "condemned", "rootless"])
async def test_a_base_that_is_gone_is_answered_with_the_whole_leaf(services: Services, fate: str) -> None:
    agent = await following(services)
    store, name = services.store, leaf_hash(BASE)
    (writing,) = store.writings(NodeKind.LEAF, name)
    if fate in ("lost", "damaged"):
        store.backend.delete(writing.name)
    if fate == "damaged":
        store.backend.put(writing.name, [bytes(LEAF_BYTES)])
    if fate == "condemned":
        async with services.database.begin() as uow:
            (await uow.session.get_one(NodeRow, name)).state = "condemned"
    if fate == "rootless":
        (root,) = store.writings(NodeKind.ROOT, bytes.fromhex(agent.session.disks[0].root))
        store.backend.delete(root.name)
    assert (await agent.put(encode_leaf_patches([patch()]))).refused == refused(patch(), "LEAF_BASE_MISSING")
    done = await agent.put(encode_chunks(chunk_records(CHANGED)), encode_leaves([NEW]))
    assert (done.leaves, done.refused) == (1, ())


async def test_more_patches_than_are_rebuilt_together_are_all_answered(services: Services) -> None:
    agent = await following(services)
    made = [changed_leaf(BASE, ((at, RANDOM.randbytes(32)),)) for at in range(150)]
    records = [patch(BASE, new) for new in made]
    stray = LeafPatchRecord(b"b" * 32, b"n" * 32, ((1, b"i" * 32),))
    done = await agent.put(encode_leaf_patches([*records[:70], stray, *records[70:]]))
    assert (done.leaves, done.refused) == (150, refused(stray, "LEAF_BASE_MISSING"))
    assert all(services.store.read_leaf(leaf_hash(leaf)) == leaf for leaf in made)
