"""Idempotency-Key on POST: sending a request again answers what the first one made.

The second answer carries `Idempotency-Replayed: true` and never a secret: secrets are shown once. The same
key with another body is refused (422). Keys belong to a principal and a route and are kept for a day.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from app.api.auth import signed_in
from app.kit.database import UnitOfWork
from app.kit.secrets import digest
from app.kit.transaction import Uow
from app.migration.access import idempotency
from app.migration.access.principals import Principal


class Identified(Protocol):
    """What has an id."""

    @property
    def id(self) -> str:
        """The id."""


T = TypeVar("T", bound=Identified)


class Repeats:
    """Makes the resource of one POST once."""

    def __init__(
        self, uow: UnitOfWork, response: Response, principal_id: str, route: str, key: str | None
    ) -> None:
        """`key` None: every request makes a new resource."""
        self._uow = uow
        self._response = response
        self._principal_id = principal_id
        self._route = route
        self._key = key

    async def __call__(
        self, body: BaseModel, create: Callable[[], Awaitable[T]], again: Callable[[str], Awaitable[T]]
    ) -> T:
        """What `create` makes, or what `again` reads when an earlier request with the key made it."""
        if self._key is None:
            return await create()
        claim = idempotency.Claim(
            self._principal_id, self._route, self._key, digest(body.model_dump_json(by_alias=True))
        )
        known = await idempotency.claim(self._uow, claim)
        if known is not None:
            self._response.headers["Idempotency-Replayed"] = "true"
            return await again(known)
        made = await create()
        await idempotency.settle(self._uow, claim, made.id)
        return made


def _repeats(
    request: Request,
    response: Response,
    uow: Uow,
    principal: Annotated[Principal, Depends(signed_in)],
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=128, description="Makes the request safe to send again")
    ] = None,
) -> Repeats:
    route = f"{request.method} {request.url.path}"
    return Repeats(uow, response, principal.id, route, idempotency_key)


Once = Annotated[Repeats, Depends(_repeats)]
