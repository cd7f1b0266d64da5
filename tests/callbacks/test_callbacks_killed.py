"""A real service, killed by SIGKILL after an event was delivered and before that was written down."""

from pathlib import Path

import pytest

from app.client import subscriptions, targets
from app.contract.resources.subscription import SubscriptionCreate
from app.contract.resources.target import TargetValidation
from tests.callbacks.conftest import DEADLINE_SECONDS, LOOPBACK, SECRET
from tests.callbacks.receivers import Delivery, Receiver
from tests.e2e.deployment import Deployment, embedded, until


@pytest.mark.slow
def test_an_event_that_was_delivered_but_not_noted_is_delivered_again(tmp_path: Path) -> None:
    killed: list[str] = []
    with (
        Receiver().listening() as receiver,
        embedded(tmp_path, **LOOPBACK, G2C_CALLBACKS__TIMEOUT_SECONDS="2") as service,
    ):

        def kill(delivery: Delivery) -> int:
            """The receiver has the event; its answer finds nobody."""
            if delivery.headers["X-Go2cloud-Event"] == "job.ended" and not killed:
                service.kill("all")
                killed.append(delivery.id)
            return 200

        receiver.answer = kill
        with service.client() as client:
            client.send(
                subscriptions.create(SubscriptionCreate(name="hook", url=receiver.url, secret=SECRET))
            )
            client.send(targets.validate("qemu", TargetValidation()))
        until(lambda: bool(killed), DEADLINE_SECONDS, "the service is killed")
        before = receiver.ids
        service.start()
        until(lambda: waiting(service) == 0, DEADLINE_SECONDS, "the outbox is drained")
    again = receiver.ids[len(before) :]
    assert again[0] == killed[0] == before[-1], "what was on its way is sent again, under its id"
    kinds = [each.headers["X-Go2cloud-Event"] for each in receiver.deliveries]
    assert kinds[:3] == ["job.started", "job.ended", "job.ended"]


def waiting(service: Deployment) -> int:
    """How many events wait for the subscription."""
    with service.client() as client:
        return client.send(subscriptions.get("hook")).waiting
