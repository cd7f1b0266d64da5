"""Who may enter: every wrong, spent or foreign secret is refused by name, and changes nothing."""

import pytest

from app.wire.jsonform import encode
from app.wire.messages import Enroll, Inventory, Poll
from tests.gateway.conftest import NEW
from tests.gateway.hand_agent import Answer, Caller, HandAgent
from tests.gateway.service import Gateway

POLL = encode(Poll("instance-1", "idle"))
SESSION_CALLS = [
    ("GET", "/disks/{disk}/leaves?start=0&count=1"),
    ("POST", "/have"),
    ("POST", "/signatures"),
    ("POST", "/put"),
    ("POST", "/commit"),
]


def enroll(gateway: Gateway, token: str) -> Answer:
    """Try to redeem an install token."""
    message = Enroll(token, "instance-1", "1.0", Inventory("stranger"))
    return Caller(gateway.port).call("POST", "/enroll", encode(message))


@pytest.mark.parametrize("token", ["", "nonsense", "g2i_nonsense", "g2i_" + "x" * 200, "🦉"])
def test_an_unknown_install_token_enrols_nobody(gateway: Gateway, token: str) -> None:
    assert enroll(gateway, token).refusal == (401, "INSTALL_TOKEN_INVALID")


def test_a_spent_install_token_is_refused_by_its_fate(gateway: Gateway) -> None:
    assert enroll(gateway, gateway.secrets.expired).refusal == (401, "INSTALL_TOKEN_EXPIRED")
    assert enroll(gateway, gateway.secrets.revoked).refusal == (401, "INSTALL_TOKEN_INVALID")
    assert enroll(gateway, gateway.secrets.once).status == 201
    used_up = enroll(gateway, gateway.secrets.once)
    assert used_up.refusal == (401, "INSTALL_TOKEN_USED_UP")
    assert used_up.problem["remedy"]


def test_an_api_token_is_no_install_token(gateway: Gateway) -> None:
    assert enroll(gateway, gateway.secrets.api).refusal == (401, "INSTALL_TOKEN_INVALID")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "UNAUTHENTICATED"),
        ("", "UNAUTHENTICATED"),
        ("Bearer", "UNAUTHENTICATED"),
        ("Bearer ", "UNAUTHENTICATED"),
        ("Basic YTpi", "UNAUTHENTICATED"),
        ("Bearer g2a_nonsense", "AGENT_CREDENTIAL_INVALID"),
        ("Bearer \xff\xfe", "AGENT_CREDENTIAL_INVALID"),
    ],
)
def test_a_request_without_a_credential_that_counts_is_refused(
    gateway: Gateway, header: str | None, code: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    refused = Caller(gateway.port).call("POST", "/poll", POLL, headers)
    assert refused.refusal == (401, code)
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_only_an_agents_own_credential_opens_the_agent_tier(gateway: Gateway) -> None:
    for secret in (gateway.secrets.api, gateway.secrets.install):
        refused = Caller(gateway.port, secret).call("POST", "/poll", POLL)
        assert refused.refusal == (401, "AGENT_CREDENTIAL_INVALID")


@pytest.mark.parametrize(("method", "rest"), SESSION_CALLS)
def test_every_call_of_a_session_needs_a_credential(steady: HandAgent, method: str, rest: str) -> None:
    path = steady.path(rest.format(disk=steady.session.disks[0].disk_id))
    assert Caller(steady.caller.port).call(method, path).refusal == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(("method", "rest"), SESSION_CALLS)
def test_a_session_of_another_server_does_not_exist(
    gateway: Gateway, steady: HandAgent, method: str, rest: str
) -> None:
    thief = gateway.enrolled()
    path = steady.path(rest.format(disk=steady.session.disks[0].disk_id))
    body = encode(steady.message(NEW)) if rest == "/commit" else b""
    assert thief.caller.call(method, path, body).refusal == (404, "SESSION_NOT_FOUND")


def test_a_disk_of_another_server_does_not_exist(gateway: Gateway, steady: HandAgent) -> None:
    thief = gateway.enrolled()
    thief.open({"disk-a": 1 << 20})
    path = thief.path(f"/disks/{steady.session.disks[0].disk_id}/leaves?start=0&count=1")
    assert thief.caller.call("GET", path).refusal == (404, "DISK_NOT_FOUND")


@pytest.mark.parametrize("session", ["ses-none", "x", "..", "%C3%A9", "%00", "x" * 99])
def test_a_session_that_never_was_is_refused(steady: HandAgent, session: str) -> None:
    refused = steady.caller.call("POST", f"/sessions/{session}/have")
    assert refused.status in (404, 422)
    assert refused.problem["code"] in ("SESSION_NOT_FOUND", "NOT_FOUND", "INVALID")


@pytest.mark.parametrize("stated", [None, "", "0", "2", "1.0", "one"])
@pytest.mark.parametrize("path", ["/enroll", "/poll", "/release", "/sessions", "/sessions/x/put"])
def test_an_unknown_protocol_version_is_refused_before_anything_else(
    gateway: Gateway, stated: str | None, path: str
) -> None:
    connection = Caller(gateway.port).connect()
    headers = {} if stated is None else {"G2C-Wire": stated}
    connection.request("POST", f"/agent/v1{path}", b"{}", headers)
    response = connection.getresponse()
    document = response.read()
    connection.close()
    assert response.status == 400
    assert b"UNSUPPORTED_PROTOCOL_VERSION" in document
    assert (stated or "not stated").encode() in document
