"""Servers, disks, checkpoints, content and verification, of a server that was really replicated."""

import json
import os
from pathlib import Path

import pytest

from app.contract.words import Role
from app.migration.services import Services
from app.store.volume import VolumeWriter
from app.wire.chunks import CHUNK_SIZE
from app.wire.frames import FrameReader
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble, root_of

CONTENT = os.urandom(CHUNK_SIZE) + bytes(CHUNK_SIZE) + os.urandom(1000)


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"disk-a": CONTENT})
    return agent


async def test_a_server_is_found_by_id_and_by_name(agent: AgentDouble, admin: Api) -> None:
    found = await admin.call("GET", "/servers/web-1", 200)
    assert await admin.call("GET", f"/servers/{agent.server}", 200) == found
    assert (found["id"], found["hostname"], found["projectName"]) == (agent.server, "web-1", "default")
    assert found["lifecycleState"] == "READY_FOR_TEST"
    assert found["lag"].startswith("PT")
    assert found["headCheckpoint"]["number"] == 1
    assert found["totals"]["sizeBytes"] == len(CONTENT)
    assert found["inventory"]["hostname"] == "web-1"


async def test_a_list_of_servers_can_be_narrowed(agent: AgentDouble, services: Services, admin: Api) -> None:
    await AgentDouble.enrolled(services, "db-1")

    async def names(query: str) -> list[str]:
        return [server["name"] for server in (await admin.call("GET", f"/servers?{query}", 200))["items"]]

    assert await names("") == ["web-1", "db-1"]
    assert await names("lifecycleState=READY_FOR_TEST") == ["web-1"]
    assert await names("q=DB") == ["db-1"]
    assert await names("project=default&limit=1") == ["web-1"]
    assert (await admin.refused("GET", "/servers?lifecycleState=FLYING"))[0] == 422
    assert await admin.refused("GET", "/servers?project=nope") == (404, "PROJECT_NOT_FOUND")


async def test_a_server_is_renamed_by_who_read_it(agent: AgentDouble, admin: Api) -> None:
    tag = (await admin.http.get("/servers/web-1")).headers["etag"]
    renamed = await admin.call("PATCH", "/servers/web-1", 200, {"name": "shop-1"}, If_Match=tag)
    assert renamed["name"] == "shop-1"
    assert await admin.refused("PATCH", "/servers/shop-1", {"name": "x"}, If_Match=tag) == (
        412,
        "SERVER_CHANGED",
    )
    (entry,) = (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
    assert (entry["action"], entry["details"]) == ("server.update", {"name": "shop-1"})


async def test_servers_of_other_projects_do_not_exist(
    agent: AgentDouble, callers: Callers, admin: Api
) -> None:
    other = await admin.call("POST", "/projects", 201, {"name": "other"})
    caller = await callers.token(Role.OPERATOR, other["id"])
    assert (await caller.call("GET", "/servers", 200))["items"] == []
    for path in ("", "/disks", "/checkpoints", "/checkpoints/latest", "/checkpoints/1/disks/dsk-x/content"):
        assert await caller.refused("GET", f"/servers/{agent.server}{path}") == (404, "SERVER_NOT_FOUND")
    for path in (":verify", "/checkpoints/latest:verify"):
        assert await caller.refused("POST", f"/servers/web-1{path}") == (404, "SERVER_NOT_FOUND")


async def test_disks_show_what_the_head_holds(agent: AgentDouble, admin: Api) -> None:
    (disk,) = (await admin.call("GET", "/servers/web-1/disks", 200))["items"]
    assert (disk["key"], disk["sizeBytes"], disk["root"]) == (
        "disk-a",
        len(CONTENT),
        root_of(CONTENT).hash.hex(),
    )


async def test_checkpoints_are_found_by_id_number_and_latest(agent: AgentDouble, admin: Api) -> None:
    await agent.replicate({"disk-a": CONTENT[::-1]})
    listed = (await admin.call("GET", "/servers/web-1/checkpoints", 200))["items"]
    assert [checkpoint["number"] for checkpoint in listed] == [2, 1]
    assert listed[0]["parent"] == listed[1]["id"]
    for ref in (listed[0]["id"], "2", "latest"):
        assert await admin.call("GET", f"/servers/web-1/checkpoints/{ref}", 200) == listed[0]
    first = await admin.call("GET", "/servers/web-1/checkpoints?limit=1", 200)
    rest = await admin.call("GET", f"/servers/web-1/checkpoints?cursor={first['nextCursor']}", 200)
    assert first["items"] + rest["items"] == listed
    for ref in ("3", "chk-unknown", "0", "9" * 30):
        code = (404, "CHECKPOINT_NOT_FOUND")
        assert await admin.refused("GET", f"/servers/web-1/checkpoints/{ref}") == code


async def test_a_foreign_cursor_is_refused(agent: AgentDouble, admin: Api) -> None:
    assert agent
    assert (await admin.refused("GET", "/servers/web-1/checkpoints?cursor=c3J2LXg"))[0] == 422


async def test_the_content_streams_and_proves_itself(agent: AgentDouble, admin: Api, tmp_path: Path) -> None:
    at = await admin.call("GET", "/servers/web-1/checkpoints/latest", 200)
    (disk,) = at["disks"]
    response = await admin.http.get(f"/servers/web-1/checkpoints/{at['id']}/disks/{disk['diskId']}/content")
    assert response.headers["content-type"] == "application/vnd.go2cloud.frames"
    with VolumeWriter(tmp_path / "out.raw", disk["sizeBytes"], bytes.fromhex(disk["root"])) as writer:
        writer.feed(FrameReader().feed(response.content))
        writer.finish()
    assert (tmp_path / "out.raw").read_bytes() == CONTENT


async def test_content_of_an_unknown_disk_is_not_found(agent: AgentDouble, admin: Api) -> None:
    assert agent
    path = "/servers/web-1/checkpoints/1/disks/dsk-unknown/content"
    assert await admin.refused("GET", path) == (404, "DISK_NOT_FOUND")


async def test_content_that_is_lost_is_a_problem_and_not_a_broken_stream(
    agent: AgentDouble, admin: Api, tmp_path: Path
) -> None:
    assert agent
    (disk,) = (await admin.call("GET", "/servers/web-1/checkpoints/1", 200))["disks"]
    for file in (tmp_path / "store").rglob("*"):
        if file.is_file() and disk["root"] in file.name:
            file.unlink()
    status, code = await admin.refused("GET", f"/servers/web-1/checkpoints/1/disks/{disk['diskId']}/content")
    assert (status, code) == (500, "OBJECT_MISSING")


async def verified(admin: Api) -> list[dict[str, object]]:
    response = await admin.http.post("/servers/web-1/checkpoints/latest:verify")
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_whole_replica_agrees(agent: AgentDouble, admin: Api) -> None:
    assert agent
    *progress, result = await verified(admin)
    assert {event["event"] for event in progress} == {"progress"}
    assert progress[-1]["checkedBytes"] == len(CONTENT)
    assert (result["event"], result["agrees"]) == ("result", True)


async def test_a_damaged_pack_is_found(agent: AgentDouble, admin: Api, tmp_path: Path) -> None:
    assert agent
    (pack,) = [file for file in (tmp_path / "store" / "packs").rglob("*") if file.is_file()]
    data = bytearray(pack.read_bytes())
    data[2000] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    result = (await verified(admin))[-1]
    assert (result["event"], result["agrees"]) == ("result", False)


@pytest.mark.parametrize("ref", ["é", "服务器", "srv-unknown", "a" * 300, "%25"])
async def test_an_unknown_server_is_not_found(agent: AgentDouble, admin: Api, ref: str) -> None:
    assert agent
    assert await admin.refused("GET", f"/servers/{ref}") == (404, "SERVER_NOT_FOUND")


async def test_a_verification_is_ordered_found_and_listed(agent: AgentDouble, admin: Api) -> None:
    response = await admin.http.post("/servers/web-1:verify")
    ordered = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/v1/servers/{agent.server}/verifications/{ordered['id']}"
    assert (ordered["state"], ordered["level"], ordered["verdict"]) == ("PENDING", "v2", None)
    assert (await admin.http.post("/servers/web-1:verify")).json() == ordered
    for ref in (ordered["id"], "latest"):
        assert await admin.call("GET", f"/servers/web-1/verifications/{ref}", 200) == ordered
    assert (await admin.call("GET", "/servers/web-1/verifications", 200))["items"] == [ordered]
    shown = (await admin.call("GET", "/servers/web-1", 200))["verification"]
    assert shown == {
        "id": ordered["id"],
        "level": "v2",
        "state": "PENDING",
        "verdict": None,
        "time": ordered["requestedAt"],
    }
    missing = (404, "VERIFICATION_NOT_FOUND")
    assert await admin.refused("GET", "/servers/web-1/verifications/ver-unknown") == missing


async def test_a_server_without_a_checkpoint_has_nothing_to_verify(services: Services, admin: Api) -> None:
    await AgentDouble.enrolled(services, "empty-1")
    assert await admin.refused("POST", "/servers/empty-1:verify") == (409, "NOTHING_TO_VERIFY")
    missing = (404, "VERIFICATION_NOT_FOUND")
    assert await admin.refused("GET", "/servers/empty-1/verifications/latest") == missing
