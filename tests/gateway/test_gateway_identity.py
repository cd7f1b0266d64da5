"""One live agent a server, and one session: copies and zombies are refused, heirs are let in."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.client.call import Call, nothing
from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled, Release
from tests.gateway.conftest import NEW, OLD
from tests.gateway.hand_agent import Answer, HandAgent
from tests.gateway.service import Gateway
from tests.replication.agent_double import disk_commit, root_of

SIZES = {"disk-a": len(OLD["disk-a"])}


def copy_of(agent: HandAgent) -> HandAgent:
    """A second host with the same credential: the disk was cloned."""
    return HandAgent(agent.caller, agent.server, "instance-2")


def poll(agent: HandAgent) -> Answer:
    """A heartbeat."""
    return agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle")))


def release(agent: HandAgent) -> int:
    """Let the lease go; the status."""
    return agent.caller.call("POST", "/release", encode(Release(agent.instance))).status


def test_a_second_live_instance_is_a_duplicate(host: HandAgent) -> None:
    refused = copy_of(host).try_open(SIZES)
    assert refused.refusal == (409, "DUPLICATE_AGENT")
    assert refused.problem["leaseUntil"] > "2026"
    assert "stop the copy" in refused.problem["remedy"]
    assert poll(copy_of(host)).refusal == (409, "DUPLICATE_AGENT")
    assert poll(host).status == 200


def test_a_duplicate_does_not_end_the_session_of_the_first(host: HandAgent, gateway: Gateway) -> None:
    assert copy_of(host).try_open(SIZES).status == 409
    host.put_disk(OLD["disk-a"])
    assert host.try_commit(host.message(OLD)).status == 200


def test_an_heir_may_take_over_after_the_release(host: HandAgent) -> None:
    heir = copy_of(host)
    assert release(heir) == 204, "of a lease that is not its own"
    assert poll(heir).status == 409, "which changes nothing"
    assert release(host) == 204
    assert poll(heir).status == 200
    assert poll(host).refusal == (409, "DUPLICATE_AGENT")


def test_an_heir_may_take_over_when_the_lease_has_ended(host: HandAgent, gateway: Gateway) -> None:
    heir = copy_of(host)
    assert poll(heir).status == 409
    gateway.end_lease(host.server)
    assert poll(heir).status == 200
    assert poll(host).refusal == (409, "DUPLICATE_AGENT")


def test_a_poll_that_waits_holds_the_lease_for_as_long_as_it_may_wait(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    poll(agent)
    before = lease_end(agent)
    with gateway.client() as client:
        client.send(Call("POST", f"/servers/{agent.server}:sync", nothing))
    waiting = agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle", 3600)))
    assert waiting.good(Polled).command == "sync"
    assert timedelta(seconds=50) <= lease_end(agent) - before < timedelta(seconds=90)


def lease_end(agent: HandAgent) -> datetime:
    """When a copy may take over, as it is told."""
    return datetime.fromisoformat(poll(copy_of(agent)).problem["leaseUntil"])


def test_a_fenced_session_can_do_nothing_more(host: HandAgent) -> None:
    zombie = HandAgent(host.caller, host.server)
    zombie.opened = host.opened
    host.open(SIZES)
    disk = zombie.session.disks[0].disk_id
    for method, rest in (
        ("GET", f"/disks/{disk}/leaves?start=0&count=1"),
        ("POST", "/have"),
        ("POST", "/signatures"),
        ("POST", "/put"),
    ):
        refused = zombie.caller.call(method, zombie.path(rest))
        assert refused.refusal == (409, "FENCED")
        assert refused.problem["generation"] == host.session.generation
    assert zombie.try_commit(zombie.message(NEW)).refusal == (409, "FENCED")


def test_a_zombie_cannot_commit_in_the_name_of_the_newer_generation(host: HandAgent) -> None:
    zombie = HandAgent(host.caller, host.server)
    zombie.opened = host.opened
    zombie.put_disk(NEW["disk-a"])
    host.open(SIZES)
    forged = replace(zombie.message(NEW), generation=host.session.generation)
    assert zombie.try_commit(forged).refusal == (409, "FENCED")


def test_a_commit_that_is_repeated_is_answered_again(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    first = agent.replicate(NEW)
    again = agent.try_commit(agent.message(NEW))
    assert again.good(type(first)) == first


def test_a_commit_on_the_base_of_yesterday_is_refused(host: HandAgent) -> None:
    host.put_disk(NEW["disk-a"])
    message = host.message(NEW)
    disk = disk_commit(host.session.disks[0].disk_id, root_of(NEW["disk-a"]).hash.hex(), NEW["disk-a"])
    assert host.try_commit(replace(message, disks=(disk,))).refusal == (409, "BASE_MISMATCH")
    assert host.try_commit(replace(message, base="")).refusal == (409, "BASE_MISMATCH")
    assert host.try_commit(replace(message, base="chk-none")).refusal == (409, "BASE_MISMATCH")
