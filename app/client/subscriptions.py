"""Calls on subscriptions."""

from app.client.call import Call, if_match, model, repeatable, segment
from app.contract.resources.base import Listing
from app.contract.resources.subscription import (
    Ping,
    Subscription,
    SubscriptionCreate,
    SubscriptionUpdate,
)


def page(cursor: str | None = None, *, limit: int | None = None) -> Call[Listing[Subscription]]:
    """A page of the caller's subscriptions."""
    return Call("GET", "/subscriptions", model(Listing[Subscription]), {"cursor": cursor, "limit": limit})


def get(ref: str) -> Call[Subscription]:
    """One subscription by id or name."""
    return Call("GET", f"/subscriptions/{segment(ref)}", model(Subscription))


def create(body: SubscriptionCreate, key: str | None = None) -> Call[Subscription]:
    """Create a subscription; `key` makes it safe to send again."""
    return Call("POST", "/subscriptions", model(Subscription), body=body, headers=repeatable(key))


def update(ref: str, version: int, body: SubscriptionUpdate) -> Call[Subscription]:
    """Change a subscription that is at `version`."""
    path = f"/subscriptions/{segment(ref)}"
    return Call("PATCH", path, model(Subscription), body=body, headers=if_match(version))


def delete(ref: str, version: int) -> Call[Subscription]:
    """Delete a subscription that is at `version`, with what waits for it."""
    return Call("DELETE", f"/subscriptions/{segment(ref)}", model(Subscription), headers=if_match(version))


def test(ref: str) -> Call[Ping]:
    """Send a ping to a subscription."""
    return Call("POST", f"/subscriptions/{segment(ref)}:test", model(Ping))
