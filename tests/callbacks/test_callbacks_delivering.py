"""Events reach their receivers, in their order, whatever the receivers do meanwhile."""

import asyncio
import gc
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.contract.callbackwords import EventKind
from app.contract.paging import EVERYTHING
from app.contract.resources.subscription import SubscriptionUpdate
from app.kit.callbackkeys import CallbackSettings
from app.migration.callbacks import claims, delivering, sending, service, sweeping
from app.migration.callbacks.sending import Letter, Sender
from app.migration.callbacks.sending import Receiver as Place
from tests.callbacks.conftest import DEADLINE_SECONDS, SECRET, Rig, strict
from tests.callbacks.receivers import Delivery, Receiver


async def test_events_are_delivered_signed_and_in_order(rig: Rig, receiver: Receiver) -> None:
    await rig.subscribe(receiver.url)
    made = await rig.make(5)
    await rig.deliver()
    await rig.until_empty()
    made += await rig.make(5, EventKind.JOB_ENDED)
    await rig.until_empty()
    assert receiver.ids == made
    for delivery in receiver.deliveries:
        delivery.require_signed(SECRET, rig.clock.now().timestamp())
        assert delivery.event["id"] == delivery.id
        assert delivery.event["type"] == delivery.headers["X-Go2cloud-Event"]
        assert delivery.attempt == 1
    shown = await rig.show()
    assert (shown.failures, shown.waiting) == (0, 0)
    assert shown.last_success_at == rig.clock.now()


async def test_a_receiver_that_was_away_gets_everything_when_it_is_back(rig: Rig) -> None:
    receiver = Receiver()
    with receiver.listening():
        await rig.subscribe(receiver.url)
    made = await rig.make(3)
    await rig.deliver()
    shown = await rig.until_failed()
    assert shown.last_failure is not None
    assert shown.retry_at is not None
    assert shown.retry_at > rig.clock.now()
    made += await rig.make(3)
    with receiver.listening():
        rig.clock.advance(timedelta(minutes=5))
        await rig.until_empty()
    assert receiver.ids == made
    assert [each.attempt for each in receiver.deliveries] == [2, 1, 1, 1, 1, 1]
    assert (await rig.show()).failures == 0


async def test_a_receiver_that_fails_is_asked_less_and_less_often(rig: Rig, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    await rig.subscribe(receiver.url)
    await rig.make(1)
    await rig.deliver()
    pauses = []
    for times in range(1, 6):
        shown = await rig.until_failed(times)
        assert shown.last_failure == "answered 500"
        assert shown.retry_at is not None
        pauses.append(shown.retry_at - rig.clock.now())
        rig.clock.advance(pauses[-1])
    for times, pause in enumerate(pauses):
        assert timedelta(seconds=2**times) <= pause <= timedelta(seconds=2 ** (times + 1))
    receiver.answer = lambda _: 204
    await rig.until_empty()
    assert [each.attempt for each in receiver.deliveries] == [1, 2, 3, 4, 5, 6]
    assert len(set(receiver.ids)) == 1


async def test_a_failing_receiver_holds_up_no_other(rig: Rig, receiver: Receiver) -> None:
    with Receiver(answer=lambda _: 503).listening() as broken:
        await rig.subscribe(broken.url, "broken")
        await rig.subscribe(receiver.url, "good")
        made = await rig.make(10)
        await rig.deliver()
        await rig.until(lambda: len(receiver.ids) == 10)
        await rig.until_failed(ref="broken")
    assert receiver.ids == made
    assert await rig.waiting() == 10


async def test_an_event_that_is_refused_steps_aside(rig: Rig, receiver: Receiver) -> None:
    made = await _with_refused(rig, receiver)
    await rig.until(lambda: len(receiver.ids) == 5)
    await rig.until_empty(but=1)
    receiver.answer = lambda _: 200
    rig.clock.advance(timedelta(minutes=5))
    await rig.until_empty()
    assert receiver.ids == [*made, made[1]]


async def test_a_change_brings_back_what_stepped_aside(rig: Rig, receiver: Receiver) -> None:
    made = await _with_refused(rig, receiver)
    await rig.until(lambda: len(receiver.ids) == 5)
    await rig.until_empty(but=1)
    receiver.answer = lambda _: 200
    async with rig.services.database.begin() as uow:
        version = (await service.get_subscription(uow, EVERYTHING, "hook")).version
        await service.update_subscription(
            uow, EVERYTHING, "hook", version, SubscriptionUpdate(url=receiver.url)
        )
    await rig.until_empty()
    assert receiver.ids == [*made, made[1]]


async def test_who_has_much_to_be_told_makes_room_for_others(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one, each is served in turn, and no turn waits for the next look."""

    def take(_: Delivery) -> int:
        rig.clock.advance(timedelta(seconds=1))
        return 200

    receiver.answer = take
    monkeypatch.setattr(delivering, "MOST_IN_A_ROW", 2)
    for name in ("one", "two"):
        await rig.subscribe(f"{receiver.url}/{name}", name)
    made = await rig.make(6)
    await rig.deliver(look_seconds=DEADLINE_SECONDS, most_at_once=1)
    await rig.until_empty()
    assert receiver.ids == [each for at in (0, 2, 4) for each in made[at : at + 2] * 2]


async def _with_refused(rig: Rig, receiver: Receiver) -> list[str]:
    refused: list[str] = []
    receiver.answer = lambda delivery: 422 if delivery.id in refused else 200
    await rig.subscribe(receiver.url)
    made = await rig.make(5)
    refused.append(made[1])
    await rig.deliver()
    return made


async def test_no_redirect_is_followed(rig: Rig, receiver: Receiver) -> None:
    with Receiver(answer=lambda _: 307, location=receiver.url).listening() as elsewhere:
        await rig.subscribe(elsewhere.url)
        await rig.make(1)
        await rig.deliver()
        shown = await rig.until_failed()
    assert shown.last_failure == "answered 307, a redirect, which is not followed"
    assert receiver.deliveries == []


async def test_a_receiver_that_does_not_answer_is_given_up_in_time(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await rig.subscribe(f"http://127.0.0.1:{silent.getsockname()[1]}/hook")
        await rig.make(1)
        await rig.deliver()
        shown = await rig.until_failed()
    assert shown.last_failure == "no answer within 2 seconds"


async def test_nothing_is_sent_where_callbacks_may_not_go(rig: Rig, receiver: Receiver) -> None:
    await rig.subscribe(receiver.url.replace("127.0.0.1", "localhost"))
    await rig.make(1)
    await rig.deliver(strict(rig.services))
    shown = await rig.until_failed()
    assert "where callbacks may not go" in (shown.last_failure or "")
    assert receiver.deliveries == []


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
async def test_a_name_that_leads_nowhere_is_told(rig: Rig, host: str) -> None:
    async with Sender(CallbackSettings(), rig.clock) as sender:
        answer = await sender.send(Place(f"http://{host}/hook", SECRET), Letter("evt-1", "x", "{}"))
    assert answer.outcome == "UNREACHABLE"
    assert answer.detail


async def test_an_address_that_takes_no_connection_leaves_time_for_the_next(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(*_given: object) -> tuple[str, ...]:
        return ("127.0.0.2", "127.0.0.1")

    monkeypatch.setattr(sending, "permitted", both)
    with deaf("127.0.0.2", receiver.port):
        async with Sender(rig.services.settings.callbacks, rig.clock) as sender:
            answer = await sender.send(Place(receiver.url, SECRET), Letter("evt-1", "x", "{}"))
    assert answer.outcome == "DELIVERED", answer.detail


@contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """A place whose queue of connections is full: it answers no further one."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(4):
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(server.getsockname())
        yield


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://xn--strae-oqa.example/hook", "xn--strae-oqa.example"),
        ("https://[fd00::7]:8443/hook", "fd00::7"),
        ("https://192.0.2.1/hook", "192.0.2.1"),
    ],
)
def test_a_name_is_looked_up_as_it_stands_in_the_url(url: str, host: str) -> None:
    """By the older rules the first would be `strasse.example`, another's."""
    assert sending.host_of(httpx2.URL(url)) == host


async def test_a_defect_ends_neither_delivering_nor_sweeping(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(claims.candidates)
    monkeypatch.setattr(claims, "candidates", failing)
    await rig.subscribe(receiver.url)
    await rig.make(2)
    await rig.deliver()
    await rig.until_empty()
    assert failing.calls > 1
    looks = Failing(sweeping.sweep_once)
    monkeypatch.setattr(sweeping, "sweep_once", looks)
    monkeypatch.setattr(sweeping, "LOOK_SECONDS", 0.01)
    task = asyncio.create_task(sweeping.sweep(rig.services))
    await rig.until(lambda: looks.calls > 2)
    task.cancel()
    await asyncio.wait([task])


class Failing:
    """Something that fails in a way that nobody foresaw the first time, and works from then on."""

    def __init__(self, real: Callable[..., Awaitable[Any]]) -> None:
        self.calls = 0
        self._real = real

    async def __call__(self, *given: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError("nobody thought of that")
        return await self._real(*given)


async def test_two_processes_deliver_each_event_once(rig: Rig, receiver: Receiver) -> None:
    for number in range(4):
        await rig.subscribe(f"{receiver.url}/{number}", f"hook-{number}")
    await rig.deliver()
    await rig.deliver()
    made = await rig.make(25)
    await rig.until_empty()
    assert sorted(receiver.ids) == sorted(made * 4)


@pytest.mark.slow
@pytest.mark.parametrize("timeout_seconds", ["30"])
async def test_a_thousand_events_are_drained_in_bounded_memory(rig: Rig, receiver: Receiver) -> None:
    sizes: list[int] = []

    def measure(delivery: Delivery) -> int:
        receiver.deliveries.clear()
        if delivery.event["data"]["number"] in (300, 990):
            gc.collect()
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        return 200

    receiver.answer = measure
    await rig.subscribe(receiver.url)
    made = await rig.make(1000)
    await rig.deliver()
    await rig.until_empty()
    early, late = sizes
    assert late - early < 16 << 20, "what is kept grows with what was delivered"
    assert len(made) == 1000
