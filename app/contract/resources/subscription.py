"""Subscriptions: who is told of events, at which URL, and how that goes."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from app.contract.callbackwords import DeliveryOutcome, EventKind
from app.contract.resources.base import Input, Resource, UtcTime

MOST_URL = 2000


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1:
        raise ValueError("a URL begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL has neither user nor password nor fragment: the signature tells who sends")
    return text


SubscriptionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""Lower-case letters, digits, dot, underscore and hyphen; 1 to 63 characters; unique in its project."""
CallbackUrl = Annotated[
    str, StringConstraints(max_length=MOST_URL, pattern=r"^[\x21-\x7e]+$"), AfterValidator(_url)
]
Kinds = Annotated[tuple[EventKind, ...], Field(min_length=1, max_length=len(EventKind))]
CallbackSecret = Annotated[str, StringConstraints(min_length=16, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class Subscription(Resource):
    """A receiver of events; docs/callbacks.md says what it gets and how it checks that.

    `kinds` null: all kinds, also those of later versions. A kind that is named may be of a later version
    too, if one wrote it down. `waiting` counts events that are still to be delivered, `failures` the
    attempts since the last success, `dropped` what was given up. `secret` is in the answer that created it
    only, where go2cloud made it up. The subscription `platform` (`builtIn`) is there where
    PLATFORM_CALLBACK_URL is set, belongs to no project and cannot be changed.
    """

    id: str
    project_id: str | None = None
    name: str
    url: str
    kinds: tuple[str, ...] | None = None
    enabled: bool
    built_in: bool = False
    waiting: int = 0
    failures: int = 0
    dropped: int = 0
    last_success_at: UtcTime | None = None
    last_failure_at: UtcTime | None = None
    last_failure: str | None = None
    retry_at: UtcTime | None = None
    created_at: UtcTime
    updated_at: UtcTime
    version: int
    secret: str | None = None


class SubscriptionCreate(Input):
    """A subscription to be created in a project, by id or name. Without a `secret` go2cloud makes one up."""

    name: SubscriptionName
    url: CallbackUrl
    kinds: Kinds | None = None
    secret: CallbackSecret | None = Field(None, repr=False)
    enabled: bool = True
    project: Annotated[str, Field(min_length=1, max_length=64)] = "default"


class SubscriptionUpdate(Input):
    """What to change of a subscription; what is absent stays. `kinds` null: all."""

    name: SubscriptionName | None = None
    url: CallbackUrl | None = None
    kinds: Kinds | None = None
    secret: CallbackSecret | None = Field(None, repr=False)
    enabled: bool | None = None


class Ping(Resource):
    """How the delivery of a ping ended; `status` where there was an answer."""

    outcome: DeliveryOutcome
    detail: str
    status: int | None = None
    milliseconds: int
