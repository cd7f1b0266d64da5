"""The way back over REST: who may begin it and when, a chain apart, disks known again, its end."""

from dataclasses import replace

import pytest

from app.contract.words import ReplicationState, Role
from app.migration.access.agents import agent_of
from app.migration.access.errors import CredentialExpired, CredentialInvalid
from app.migration.cutover.kinds import cutover_kinds
from app.migration.cutover.tables import CutoverRow
from app.migration.launch.kinds import launch_kinds
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import enroll, find_server, note_inventory
from app.migration.servers.errors import ReverseRefused
from app.migration.services import Services
from app.wire.chunks import name_of
from app.wire.messages import HAVE_PROVE, HAVE_SEND, Disk, Enroll, Enrolled, Filesystem, Inventory
from tests.api.conftest import Api, Callers
from tests.api.test_api_cutovers import cut_over
from tests.replication.agent_double import LEASE, AgentDouble, chunks_of

WEB = "/servers/web-1"
ON_SQLITE = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
"""Where the database makes no difference, one of them is enough."""
CONTENT = bytes(range(256)) * 4096
ROOT = Disk("wwn-old", "/dev/sda", len(CONTENT), 512, filesystem=Filesystem("ext4", "aaaa"))
AT_SOURCE = Inventory("web-1", boot_id="boot-of-the-source", disks=(ROOT,))
INSIDE = Inventory(
    "web-1", boot_id="another", disks=(replace(ROOT, key="virtio", path="/dev/vda"),), machine_id="same"
)


@pytest.fixture
async def agent(admin: Api, services: Services) -> AgentDouble:
    """A server whose machine runs; its source is held."""
    for kind in (*launch_kinds(services), *cutover_kinds(services)):
        services.kinds.add(kind)
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"wwn-old": CONTENT})
    async with services.database.begin() as uow:
        server = await find_server(uow, agent.server)
        await note_inventory(uow, server, AT_SOURCE)
        server.lifecycle_state = "READY_FOR_CUTOVER"
        server.replication_state, server.lease_until = ReplicationState.CONTINUOUS, uow.now + LEASE
        (await uow.session.get_one(CheckpointRow, server.head_checkpoint_id)).label = "frozen"
    job = (await admin.call("POST", f"{WEB}:cutover", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    await cut_over(services, agent, job, "SUCCEEDED")
    return agent


async def stand(services: Services, agent: AgentDouble, lifecycle: str, cutover: str) -> None:
    async with services.database.begin() as uow:
        (await find_server(uow, agent.server)).lifecycle_state = lifecycle
        (await uow.session.get_one(CutoverRow, "cut-1")).state = cutover


async def enrolled(services: Services, token: str, inventory: Inventory = INSIDE) -> Enrolled:
    async with services.database.begin() as uow:
        return await enroll(uow, Enroll(token, "inside", "1.0", inventory), LEASE)


async def begun(admin: Api, services: Services) -> AgentDouble:
    """The way back, enrolled."""
    token = (await admin.call("POST", f"{WEB}:reverse", 201))["secret"]
    return AgentDouble(services, (await enrolled(services, token)).server_id, "inside")


async def test_a_machine_replicates_to_a_chain_apart_without_sending_what_is_stored(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    before = await admin.call("GET", WEB, 200)
    assert ("reverse" in before["allowedOperations"], before["reverse"]) == (True, None)
    back = await begun(admin, services)
    changed = CONTENT[:-1] + b"!"
    await back.open({"virtio": len(changed)})
    wanted = await back.have([name_of(chunk) for chunk in chunks_of(changed)])
    assert set(wanted[:-1]) == {HAVE_PROVE}
    assert wanted[-1] == HAVE_SEND
    await back.put_disk(changed)
    made = await back.commit({"virtio": changed})
    found = await admin.call("GET", WEB, 200)
    assert found["headCheckpoint"] == before["headCheckpoint"]
    assert (found["reverse"]["name"], found["reverse"]["ended"]) == ("web-1-reverse", False)
    assert found["reverse"]["headCheckpoint"]["id"] == made.checkpoint_id
    assert found["reverse"]["serverId"] == back.server
    async with services.database.begin() as uow:
        await note_inventory(uow, await find_server(uow, back.server), INSIDE)
    shown = await admin.call("GET", f"{WEB}/reverse", 200)
    (disk,) = shown["disks"]
    assert (disk["path"], disk["reversePath"], disk["doubt"]) == ("/dev/sda", "/dev/vda", None)


@ON_SQLITE
async def test_a_way_back_is_in_no_list_and_has_no_lifecycle(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    back = await begun(admin, services)
    await back.replicate({"virtio": CONTENT})
    listed = (await admin.call("GET", "/servers", 200))["items"]
    assert [each["id"] for each in listed] == [agent.server]
    (row,) = (await admin.call("GET", "/servers?reverse=true", 200))["items"]
    assert (row["id"], row["reverseOf"], row["allowedOperations"]) == (back.server, agent.server, [])
    assert row["lifecycleState"] == "NOT_READY"
    mine = f"/servers/{row['name']}"
    for verb in ("test", "cutover", "revert", "finalize", "disconnect", "archive", "reverse", "stopReverse"):
        assert await admin.refused("POST", f"{mine}:{verb}") == (409, "SERVER_IS_REVERSE"), verb
    assert await admin.refused("POST", f"{mine}:markReady", {}) == (409, "SERVER_IS_REVERSE")
    wanted = {"name": "shop", "servers": [{"server": row["name"]}]}
    assert await admin.refused("POST", "/applications", wanted) == (409, "SERVER_IS_REVERSE")
    await admin.call("POST", f"{mine}:sync", 202)


@ON_SQLITE
async def test_only_a_server_whose_machine_runs_gets_a_way_back(
    agent: AgentDouble, admin: Api, services: Services, callers: Callers
) -> None:
    viewer = await callers.token(Role.VIEWER)
    assert (await viewer.refused("POST", f"{WEB}:reverse"))[0] == 403
    await stand(services, agent, "READY_FOR_CUTOVER", "UNDONE")
    assert await admin.refused("POST", f"{WEB}:reverse") == (409, "LIFECYCLE_NOT_ALLOWED")
    for state in ("PREPARING", "STOPPING", "REVERTING"):
        await stand(services, agent, "CUTTING_OVER", state)
        assert await admin.refused("POST", f"{WEB}:reverse") == (409, "NOT_LAUNCHED"), state
    plan = await admin.call("GET", f"{WEB}/plan?operation=reverse", 200)
    assert [each["code"] for each in plan["findings"]] == ["NOT_LAUNCHED"]
    assert await admin.refused("GET", f"{WEB}/reverse") == (404, "REVERSE_NOT_FOUND")
    await stand(services, agent, "CUTOVER", "FINALIZED")
    assert (await admin.call("GET", f"{WEB}/plan?operation=reverse", 200))["possible"]
    await begun(admin, services)
    plan = await admin.call("GET", f"{WEB}/plan?operation=reverse", 200)
    assert [each["code"] for each in plan["findings"]] == ["REVERSE_STANDS"]
    assert await admin.refused("POST", f"{WEB}:reverse") == (409, "REVERSE_STANDS")


async def test_a_token_enrols_one_machine_of_a_server_that_is_still_cut_over(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    first = (await admin.call("POST", f"{WEB}:reverse", 201, Idempotency_Key="k"))["secret"]
    assert first.startswith("g2r_")
    assert (await admin.call("POST", f"{WEB}:reverse", 201, Idempotency_Key="k"))["secret"] is None
    second = (await admin.call("POST", f"{WEB}:reverse", 201))["secret"]
    with pytest.raises(CredentialInvalid):
        await enrolled(services, first)
    with pytest.raises(ReverseRefused) as at_source:
        await enrolled(services, second, AT_SOURCE)
    assert at_source.value.code == "REVERSE_AT_SOURCE"
    await stand(services, agent, "READY_FOR_CUTOVER", "REVERTED")
    with pytest.raises(ReverseRefused) as reverted:
        await enrolled(services, second)
    assert reverted.value.code == "NOT_CUT_OVER"
    await stand(services, agent, "CUTTING_OVER", "SUCCEEDED")
    await enrolled(services, second)
    with pytest.raises(CredentialExpired):
        await enrolled(services, second)


async def test_stopping_shuts_the_agent_out_and_keeps_the_chain(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    token = (await admin.call("POST", f"{WEB}:reverse", 201))["secret"]
    made = await enrolled(services, token)
    back = AgentDouble(services, made.server_id, "inside")
    await back.replicate({"virtio": CONTENT})
    for _ in range(2):
        stopped = await admin.call("POST", f"{WEB}:stopReverse", 200)
        assert (stopped["id"], stopped["reverse"]["ended"]) == (agent.server, True)
    async with services.database.reading() as uow:
        with pytest.raises(CredentialInvalid):
            await agent_of(uow, made.credential)
    assert len((await admin.call("GET", f"/servers/{back.server}/checkpoints", 200))["items"]) == 1
    actions = [
        each["action"] for each in (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
    ]
    assert {"server.reverse", "server.stopReverse"} <= set(actions)
    again = await begun(admin, services)
    assert (await admin.call("GET", WEB, 200))["reverse"]["serverId"] == again.server
    assert (await admin.call("GET", f"/servers/{again.server}", 200))["name"] == "web-1-reverse-2"


@ON_SQLITE
async def test_the_plan_of_a_revert_names_the_chain_that_has_what_the_machine_wrote(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    back = await begun(admin, services)
    assert (await admin.call("GET", f"{WEB}/plan?operation=revert", 200))["findings"] == []
    await back.replicate({"virtio": CONTENT})
    (finding,) = (await admin.call("GET", f"{WEB}/plan?operation=revert", 200))["findings"]
    assert (finding["code"], finding["severity"]) == ("REVERSE_CHAIN", "note")
    assert "only in the checkpoints of web-1-reverse, up to number 1" in finding["text"]
