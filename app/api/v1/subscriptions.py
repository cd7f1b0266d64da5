"""Subscriptions: webhooks that are told of events, and the platform."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Response, status
from fastapi.responses import StreamingResponse

from app.api.audit import Audit
from app.api.auth import Administrator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.base import Listing
from app.contract.resources.subscription import (
    Ping,
    Subscription,
    SubscriptionCreate,
    SubscriptionUpdate,
)
from app.kit.transaction import Uow
from app.migration.callbacks import service
from app.migration.services import Services

router = APIRouter(route_class=UnitRoute)


@router.get("/subscriptions")
async def list_subscriptions(uow: Uow, who: Viewer, page: Paging) -> Listing[Subscription]:
    """The subscriptions of the caller's projects, and how their deliveries go; no secrets."""
    return listing(Subscription, await service.list_subscriptions(uow, who.scope, page))


@router.post("/subscriptions", status_code=status.HTTP_201_CREATED)
async def create_subscription(
    uow: Uow, who: Administrator, once: Once, record: Audit, response: Response, body: SubscriptionCreate
) -> Subscription:
    """Create a subscription; administrators do, since it makes the service speak to other hosts.

    `secret` is in this answer only, where go2cloud made it up; a repeat of the request has it null.
    """

    async def create() -> Subscription:
        made = await service.create_subscription(uow, who.scope, body)
        await record("subscription.create", made.id, made.project_id, name=made.name, url=made.url)
        return made

    made = await once(body, create, lambda known: service.get_subscription(uow, who.scope, known))
    tag(response, made)
    return made


@router.get("/subscriptions/{subscription}")
async def get_subscription(uow: Uow, who: Viewer, response: Response, subscription: str) -> Subscription:
    """One subscription, by id or name, without its secret."""
    found = await service.get_subscription(uow, who.scope, subscription)
    tag(response, found)
    return found


@router.patch("/subscriptions/{subscription}")
async def update_subscription(
    uow: Uow,
    who: Administrator,
    record: Audit,
    response: Response,
    subscription: str,
    version: IfMatch,
    body: SubscriptionUpdate,
) -> Subscription:
    """Change a subscription; what waits for it is delivered at once then."""
    changed = await service.update_subscription(uow, who.scope, subscription, version, body)
    said = body.model_dump(mode="json", exclude_unset=True, exclude={"secret"}, by_alias=True)
    await record("subscription.update", changed.id, changed.project_id, **said)
    tag(response, changed)
    return changed


@router.delete("/subscriptions/{subscription}")
async def delete_subscription(
    uow: Uow, who: Administrator, record: Audit, subscription: str, version: IfMatch
) -> Subscription:
    """Delete a subscription, and the events that wait for it. Answers what it was."""
    was = await service.delete_subscription(uow, who.scope, subscription, version)
    await record("subscription.delete", was.id, was.project_id, name=was.name, waiting=was.waiting)
    return was


@router.post(
    "/subscriptions/{subscription}:test",
    response_class=StreamingResponse,
    responses={200: {"model": Ping, "description": "How the delivery ended"}},
)
async def test_subscription(
    uow: Uow, who: Administrator, serving: Serving, record: Audit, subscription: str
) -> StreamingResponse:
    """Send a ping to a subscription, once, and tell what became of it."""
    to = await service.addressee(uow, who.scope, subscription, serving.settings)
    await record("subscription.test", to.id, to.project_id)
    return StreamingResponse(_pinged(serving, to), media_type="application/json")


async def _pinged(serving: Services, to: service.Addressee) -> AsyncIterator[bytes]:
    """Sent while the answer is, when the request's transaction is over: a receiver may take seconds."""
    yield (await service.ping(serving, to)).model_dump_json(by_alias=True).encode()
