"""Commits of garbage: each refused by name, and the head stays where it was."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.wire.chunks import MIB
from app.wire.jsonform import encode
from app.wire.messages import MAX_MESSAGE, Commit, DiskCommit, LeafChange
from tests.gateway.conftest import NEW, OLD, unseen
from tests.gateway.hand_agent import HandAgent
from tests.gateway.service import Gateway

SIZE = len(NEW["disk-a"])
Change = Callable[[Commit], Commit]


def disk(**changes: object) -> Change:
    """Change the commit's one disk."""
    return lambda message: replace(message, disks=(replace(message.disks[0], **changes),))  # type: ignore[arg-type]  # any field


def leaf(change: LeafChange) -> Change:
    """Put another leaf into the commit's one disk."""
    return lambda message: replace(
        message, disks=(replace(message.disks[0], changed=(*message.disks[0].changed, change)),)
    )


def twice(message: Commit) -> Commit:
    """Name the disk twice."""
    return replace(message, disks=message.disks * 2)


BAD: dict[str, tuple[Change, tuple[int, str]]] = {
    "another root": (disk(root="ab" * 32), (422, "ROOT_MISMATCH")),
    "another size": (disk(size=SIZE - 4096), (422, "ROOT_MISMATCH")),
    "another generation": (lambda one: replace(one, generation=10**9), (409, "FENCED")),
    "no disk": (lambda one: replace(one, disks=()), (422, "BAD_COMMIT")),
    "a disk twice": (twice, (422, "BAD_COMMIT")),
    "an unknown disk": (disk(disk_id="dsk-none"), (422, "BAD_COMMIT")),
    "an unknown label": (disk(label="perfect"), (422, "BAD_COMMIT")),
    "an unknown label of all": (lambda one: replace(one, label="perfect"), (422, "BAD_COMMIT")),
    "no time": (lambda one: replace(one, source_time="yesterday"), (422, "BAD_COMMIT")),
    "a time without its zone": (
        lambda one: replace(one, source_time="2026-01-01T00:00:00"),
        (422, "BAD_COMMIT"),
    ),
    "a time before time": (
        lambda one: replace(one, source_time="0001-01-01T00:00:00+14:00"),
        (422, "BAD_COMMIT"),
    ),
    "a time of the first Unix": (
        lambda one: replace(one, source_time="1969-12-31T00:00:00+00:00"),
        (422, "BAD_COMMIT"),
    ),
    "a size beyond all limits": (disk(size=1 << 62), (400, "BAD_TREE_NODE")),
    "a leaf beyond the end": (leaf(LeafChange(1, "cd" * 32)), (400, "BAD_TREE_NODE")),
    "a range beyond the end": (disk(omitted=((SIZE - 4096, 8192),)), (422, "BAD_COMMIT")),
    "an empty range": (disk(unreadable=((0, 0),)), (422, "BAD_COMMIT")),
    "ranges that overlap": (disk(omitted=((0, 8192), (4096, 8192))), (422, "BAD_COMMIT")),
    "ranges out of order": (disk(omitted=((8192, 4096), (0, 4096))), (422, "BAD_COMMIT")),
    "a hash that is none": (leaf(LeafChange(0, "zz" * 32)), (400, "BAD_MESSAGE")),
    "a hash in capitals": (disk(root="AB" * 32), (400, "BAD_MESSAGE")),
    "a hash of another length": (disk(root="ab" * 31), (400, "BAD_MESSAGE")),
    "a negative size": (disk(size=-1), (400, "BAD_MESSAGE")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_commit_of_garbage_is_refused_by_name(steady: HandAgent, name: str) -> None:
    change, refusal = BAD[name]
    steady.put_disk(NEW["disk-a"])
    refused = steady.try_commit(change(steady.message(NEW)))
    assert refused.refusal == refusal
    assert refused.problem["detail"]


def test_a_commit_of_what_was_never_put_names_it(steady: HandAgent) -> None:
    message = steady.message(unseen())
    refused = steady.try_commit(message)
    assert refused.refusal == (409, "MISSING_LEAVES")
    assert refused.problem["leaves"] == [message.disks[0].changed[0].leaf]


def test_a_commit_of_a_disk_of_another_server_is_refused(gateway: Gateway, steady: HandAgent) -> None:
    thief = gateway.enrolled()
    thief.open({"disk-a": SIZE})
    stolen = disk(disk_id=steady.session.disks[0].disk_id)(thief.message(OLD))
    assert thief.try_commit(stolen).refusal == (422, "BAD_COMMIT")


def test_the_first_commit_of_a_server_stands_on_nothing(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    agent.open({"disk-a": SIZE})
    agent.put_disk(NEW["disk-a"])
    message = agent.message(NEW)
    assert agent.try_commit(replace(message, base="chk-none")).refusal == (409, "BASE_MISMATCH")
    on_a_root = disk(base_root="ab" * 32)(message)
    assert agent.try_commit(on_a_root).refusal == (409, "BASE_MISMATCH")
    assert agent.try_commit(message).status == 200


def test_a_commit_beyond_the_limit_is_refused_while_it_comes(steady: HandAgent) -> None:
    refused = steady.caller.call(
        "POST", steady.path("/commit"), (bytes(MIB) for _ in range(MAX_MESSAGE // MIB + 1))
    )
    assert refused.refusal == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"{}", encode(DiskCommit("d", "", "ab" * 32, 1, "q", ()))]
)
def test_a_commit_of_another_form_is_refused(steady: HandAgent, body: bytes) -> None:
    assert steady.caller.call("POST", steady.path("/commit"), body).refusal == (400, "BAD_MESSAGE")


def test_a_large_commit_of_garbage_is_refused_too(steady: HandAgent) -> None:
    many = tuple(LeafChange(index, "ab" * 32) for index in range(5000))
    refused = steady.try_commit(disk(changed=many)(steady.message(NEW)))
    assert refused.refusal == (400, "BAD_TREE_NODE")
