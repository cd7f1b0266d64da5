"""What can be refused about subscriptions, and what ends a delivery.

NotFound
└── SubscriptionNotFound
Conflict
├── SubscriptionExists    the name is taken in the project
└── SubscriptionBuiltIn   it is made by the settings, and changed there
PreconditionFailed
└── SubscriptionChanged   it is not at the version that the caller read

Exception
├── Fenced                another process delivers to the subscription now
└── AddressForbidden      the settings do not let go2cloud speak to the address
"""

from app.kit.errors import Conflict, NotFound, PreconditionFailed


class SubscriptionNotFound(NotFound):
    """No subscription of the caller has this id or name."""

    code = "SUBSCRIPTION_NOT_FOUND"


class SubscriptionExists(Conflict):
    """The name is taken in the project."""

    code = "SUBSCRIPTION_EXISTS"


class SubscriptionBuiltIn(Conflict):
    """The subscription of the platform is made by the settings."""

    code = "SUBSCRIPTION_BUILT_IN"


class SubscriptionChanged(PreconditionFailed):
    """The subscription is not at the version that the caller read."""

    code = "SUBSCRIPTION_CHANGED"


class Fenced(Exception):
    """The lease is lost: whatever is written under it is refused."""


class AddressForbidden(Exception):
    """No address of the receiver may be spoken to."""
