"""The keys of CALLBACKS, as operators write them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from app.kit.settingsection import Section

SHORTEST_SECRET = 16

Network = IPv4Network | IPv6Network


def _networks(value: object) -> object:
    """`10.1.2.0/24, 127.0.0.1` as networks; other values are left to be refused."""
    if not isinstance(value, str):
        return value
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


class CallbackSettings(Section):
    """CALLBACKS: how events are delivered to the platform and to webhooks."""

    secret: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description=f"a secret of {SHORTEST_SECRET} characters or more that the roles api and platform share",
    )
    timeout_seconds: int = Field(10, ge=1, le=60, description="seconds that a receiver has to answer")
    give_up_hours: int = Field(
        72, ge=1, le=720, description="hours after which an event that cannot be delivered is dropped"
    )
    allow: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = Field(
        (), description="networks like 127.0.0.0/8, with commas between them"
    )
