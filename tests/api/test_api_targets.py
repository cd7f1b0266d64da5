"""Targets over REST: who may, what is refused by name, what is in use stays."""

import pytest

from app.contract.words import Role
from app.migration.follow.steps import follow_kinds
from app.migration.launch.kinds import launch_kinds
from app.migration.publish.steps import publish_kinds
from app.migration.services import Services
from app.migration.targets.errors import TargetInvalid
from app.migration.targets.settings import checked
from app.migration.targets.validating import target_kinds
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble

IMAGES = {"name": "images", "kind": "image", "settings": {"folder": "/srv/images", "formats": ["qcow2"]}}
COPIES = {
    "name": "copies",
    "kind": "device",
    "settings": {"node": "rack-1", "devices": [{"disk": "dsk-1", "path": "/dev/disk/by-id/x"}]},
}


@pytest.fixture
def kinds(services: Services) -> None:
    for made in (launch_kinds, target_kinds, follow_kinds, publish_kinds):
        for kind in made(services):
            services.kinds.add(kind)


@pytest.fixture
async def server(callers: Callers, services: Services, kinds: None) -> str:
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"disk-a": b"x" * 65536})
    return agent.server


async def test_a_target_is_made_read_changed_and_deleted(admin: Api) -> None:
    made = await admin.call("POST", "/targets", 201, IMAGES)
    assert made["id"].startswith("tgt-")
    assert (made["makes"], made["version"], made["builtIn"]) == ("images", 1, False)
    assert await admin.call("GET", "/targets/images", 200) == made
    changes = {"settings": {"folder": "/srv/other"}}
    changed = await admin.call("PATCH", "/targets/images", 200, changes, If_Match='"1"')
    assert (changed["settings"], changed["version"]) == ({"folder": "/srv/other"}, 2)
    old = await admin.refused("PATCH", "/targets/images", changes, If_Match='"1"')
    assert old == (412, "TARGET_CHANGED")
    assert await admin.refused("DELETE", "/targets/images", If_Match='"1"') == (412, "TARGET_CHANGED")
    await admin.call("DELETE", "/targets/images", 200, If_Match='"2"')
    assert await admin.refused("GET", "/targets/images") == (404, "TARGET_NOT_FOUND")


async def test_qemu_is_there_by_itself_and_stays(admin: Api) -> None:
    await admin.call("POST", "/targets", 201, IMAGES)
    listed = await admin.call("GET", "/targets?limit=1", 200)
    assert [(each["name"], each["builtIn"]) for each in listed["items"]] == [
        *(("qemu", True), ("images", False))
    ]
    assert await admin.refused("DELETE", "/targets/qemu", If_Match='"0"') == (409, "TARGET_BUILT_IN")
    taken = await admin.refused("POST", "/targets", {"name": "qemu", "kind": "qemu"})
    assert taken == (409, "TARGET_EXISTS")


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("cloud", {}, "no kind of target 'cloud'"),
        ("image", {}, "folder"),
        ("image", {"folder": "/srv/../etc"}, "folder"),
        ("image", {"folder": "srv"}, "folder"),
        ("image", {"folder": "/srv", "formats": ["ova"]}, "formats"),
        ("image", {"folder": "/srv", "bucket": "images"}, "a folder or a bucket"),
        ("image", {"folder": "/srv", "region": "eu-1"}, "region belong to a bucket"),
        ("image", {"bucket": "no"}, "bucket"),
        ("image", {"bucket": "No_Bucket"}, "bucket"),
        ("image", {"bucket": "images", "endpoint": "s3.example.com"}, "endpoint: .*https?"),
        ("image", {"bucket": "images", "endpoint": "https://me:word@s3.example.com"}, "without keys"),
        ("image", {"bucket": "images", "endpoint": "https://s3.example.com/images"}, "without a path"),
        ("image", {"bucket": "images", "endpoint": "https://s3.example.com:99999"}, "endpoint: .*host:port"),
        ("image", {"bucket": "images", "endpoint": "https://s3.example.com:s3"}, "endpoint: .*host:port"),
        ("image", {"bucket": "images", "prefix": "/a"}, "prefix"),
        ("image", {"bucket": "images", "prefix": "a/../b"}, "prefix"),
        ("image", {"bucket": "images", "credentials": ""}, "credentials"),
        ("qemu", {"colour": "red"}, "colour"),
        ("device", {"devices": []}, "node"),
        ("libvirt", {"folder": "/srv"}, "node"),
        ("libvirt", {"node": "a", "folder": "/srv", "uri": "qemu+ssh://root@b/system"}, "uri"),
        ("libvirt", {"node": "a", "folder": "/srv", "network": "n", "bridge": "b"}, "not both"),
        ("libvirt", {"node": "a", "folder": "/srv", "bridge": "b,id=c"}, "bridge"),
        (
            "device",
            {"node": "a", "devices": [{"disk": "d", "path": "/x"}, {"disk": "d", "path": "/y"}]},
            "own",
        ),
    ],
)
def test_settings_that_are_none_are_refused_by_name(
    kind: str, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(TargetInvalid, match=named):
        checked(kind, settings)


async def test_a_bucket_is_named_with_the_name_of_its_keys_and_keys_are_taken_by_no_setting(
    admin: Api,
) -> None:
    bucket = {"bucket": "images", "endpoint": "https://s3.example.com:8443/", "credentials": "archive"}
    made = await admin.call("POST", "/targets", 201, {"name": "s3", "kind": "image", "settings": bucket})
    assert made["settings"] == {**bucket, "endpoint": "https://s3.example.com:8443"}
    assert made["makes"] == "images"
    keyed = {"name": "x", "kind": "image", "settings": {**bucket, "secretKey": "hush-hush"}}
    problem = await admin.call("POST", "/targets", 422, keyed)
    assert problem["code"] == "TARGET_INVALID"
    assert "secretKey" in problem["detail"]
    assert "hush-hush" not in str(problem)


async def test_a_target_with_wrong_settings_is_not_made(admin: Api) -> None:
    body = {"name": "x", "kind": "image", "settings": {"folder": "/srv", "colour": "red"}}
    problem = await admin.call("POST", "/targets", 422, body)
    assert problem["code"] == "TARGET_INVALID"
    assert "colour" in problem["detail"]


async def test_a_name_is_taken_once_and_targets_of_other_projects_are_not_found(
    admin: Api, callers: Callers
) -> None:
    await admin.call("POST", "/targets", 201, IMAGES)
    assert await admin.refused("POST", "/targets", IMAGES) == (409, "TARGET_EXISTS")
    other = await admin.call("POST", "/projects", 201, {"name": "other"})
    stranger = await callers.token(Role.OPERATOR, other["id"])
    assert await stranger.refused("GET", "/targets/images") == (404, "TARGET_NOT_FOUND")
    assert [each["name"] for each in (await stranger.call("GET", "/targets", 200))["items"]] == ["qemu"]


async def test_only_an_administrator_names_places_on_nodes(
    callers: Callers,
) -> None:
    operator = await callers.token(Role.OPERATOR)
    assert (await operator.refused("POST", "/targets", IMAGES))[0] == 403


async def test_validating_and_publishing_are_jobs_of_the_target_which_is_in_use_then(
    admin: Api, server: str
) -> None:
    made = await admin.call("POST", "/targets", 201, COPIES)
    job = await admin.call("POST", "/targets/copies:validate", 202)
    assert (job["kind"], job["node"]) == ("target.validate", "rack-1")
    assert await admin.refused("DELETE", f"/targets/{made['id']}", If_Match='"1"') == (409, "TARGET_IN_USE")
    assert (await admin.call("POST", "/targets/qemu:validate", 202, {"node": "rack-9"}))["node"] == "rack-9"
    await admin.call("POST", "/targets", 201, IMAGES)
    order = {"target": "images", "formats": ["raw"]}
    first = await admin.call("POST", "/servers/web-1:publish", 202, order, Idempotency_Key="one")
    again = await admin.call("POST", "/servers/web-1:publish", 202, order, Idempotency_Key="one")
    assert (first["kind"], first["id"]) == ("server.publish", again["id"])
    assert await admin.refused("POST", "/servers/web-1:publish", order) == (409, "JOB_STANDS")
    unfit = await admin.refused("POST", "/servers/web-1:publish", {"target": "copies"})
    assert unfit == (409, "TARGET_UNFIT")


async def test_a_server_is_followed_by_one_device_target(admin: Api, server: str) -> None:
    await admin.call("POST", "/targets", 201, COPIES)
    assert await admin.refused("GET", "/servers/web-1/follow") == (404, "FOLLOW_NOT_FOUND")
    found = await admin.call("PUT", "/servers/web-1/follow", 200, {"target": "copies"})
    assert (found["serverId"], found["targetName"], found["behind"]) == (server, "copies", 1)
    assert await admin.call("GET", "/servers/web-1/follow", 200) == found
    assert await admin.refused("PUT", "/servers/web-1/follow", {"target": "qemu"}) == (409, "TARGET_UNFIT")
    await admin.call("DELETE", "/servers/web-1/follow", 204)
    assert await admin.refused("DELETE", "/servers/web-1/follow") == (404, "FOLLOW_NOT_FOUND")


async def test_launch_settings_name_only_a_target_that_makes_machines(admin: Api, server: str) -> None:
    await admin.call("POST", "/targets", 201, IMAGES)
    path = "/servers/web-1/launch-settings"
    assert await admin.refused("PUT", path, {"target": "images"}, If_Match='"0"') == (409, "TARGET_UNFIT")
    assert await admin.refused("PUT", path, {"target": "x"}, If_Match='"0"') == (404, "TARGET_NOT_FOUND")
    found = await admin.call("PUT", path, 200, {"target": "qemu"}, If_Match='"0"')
    assert found["settings"]["target"] == "qemu"
