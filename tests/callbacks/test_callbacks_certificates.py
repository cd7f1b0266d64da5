"""A receiver with HTTPS is who the URL says it is, though the connection goes to an address."""

import ssl
from collections.abc import Iterator

import pytest
import trustme

from app.kit.callbackkeys import CallbackSettings
from app.kit.clock import SystemClock
from app.migration.callbacks.sending import Letter, Sender
from app.migration.callbacks.sending import Receiver as Place
from tests.callbacks.receivers import Receiver

SECRET = "a-secret-of-the-two-of-us"
LETTER = Letter("evt-1", "callback.ping", "{}")
HERE = CallbackSettings.model_validate({"ALLOW": "127.0.0.0/8"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def receiver(authority: trustme.CA) -> Iterator[Receiver]:
    """It shows a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Receiver().listening(context) as receiver:
        yield receiver


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_certificate_for_the_name_in_the_url_is_accepted(
    receiver: Receiver, authority: trustme.CA
) -> None:
    url = f"https://localhost:{receiver.port}/hook"
    async with Sender(HERE, SystemClock(), trusting(authority)) as sender:
        answer = await sender.send(Place(url, SECRET), LETTER)
    assert answer.outcome == "DELIVERED", answer.detail
    assert receiver.deliveries[0].headers["Host"] == f"localhost:{receiver.port}"


async def test_a_certificate_for_another_name_is_refused(receiver: Receiver, authority: trustme.CA) -> None:
    url = f"https://127.0.0.1:{receiver.port}/hook"
    async with Sender(HERE, SystemClock(), trusting(authority)) as sender:
        answer = await sender.send(Place(url, SECRET), LETTER)
    assert answer.outcome == "UNREACHABLE"
    assert "certificate" in answer.detail
    assert receiver.deliveries == []


async def test_a_certificate_of_an_unknown_authority_is_refused(receiver: Receiver) -> None:
    url = f"https://localhost:{receiver.port}/hook"
    async with Sender(HERE, SystemClock()) as sender:
        answer = await sender.send(Place(url, SECRET), LETTER)
    assert answer.outcome == "UNREACHABLE"
    assert "certificate" in answer.detail
    assert receiver.deliveries == []
