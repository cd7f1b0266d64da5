"""One request is one unit of work, committed before the answer leaves.

A router made with ``APIRouter(route_class=TransactionalRoute)`` runs each handler, its dependencies
included, inside one unit of the database that the application carries as ``app.state.services.database``.
GET and HEAD get a reading unit. Any other method gets a writing one: an error rolls it back, success
commits it and only then is the answer sent, so that a client never sees 201 for something that the
database refused.

When the database asks for it, the whole handler runs again on the same request (its body is kept by
then), so a handler must have no effect outside its unit. A handler takes the unit as a parameter of type
`Uow`.

A body that is read as a stream cannot be read twice: use a plain route and open the units there. An
answer may be a stream if the handler has read from its unit all that the stream needs, since the unit
ends when the handler returns.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from app.kit.database import Database, UnitOfWork

READING_METHODS = frozenset({"GET", "HEAD"})


class _Services(Protocol):
    """What a route needs of the application's services."""

    @property
    def database(self) -> Database:
        """The database of the process."""


class TransactionalRoute(APIRoute):
    """A route whose handler runs inside one unit of work."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, run inside a unit."""
        handle = super().get_route_handler()

        async def handle_in_unit(request: Request) -> Response:
            async def work(unit: UnitOfWork) -> Response:
                request.state.uow = unit
                return await handle(request)

            database = cast(_Services, request.app.state.services).database
            if request.method in READING_METHODS:
                async with database.reading() as unit:
                    return await work(unit)
            return await database.run(work)

        return handle_in_unit


async def _unit_of(request: Request) -> UnitOfWork:
    unit = getattr(request.state, "uow", None)
    if not isinstance(unit, UnitOfWork):
        raise TypeError(
            f"the route {request.url.path} has no unit of work: give its router TransactionalRoute"
        )
    return unit


Uow = Annotated[UnitOfWork, Depends(_unit_of)]
"""The unit of work of this request, as a handler's parameter."""
