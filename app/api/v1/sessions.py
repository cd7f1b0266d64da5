"""Sessions: logging in and out with a user's password.

Logging in is not one unit of work as the other routes are: checking a password takes tens of milliseconds,
for which nobody should wait at the database.
"""

from datetime import timedelta

from fastapi import APIRouter, Request, Response, status

from app.api.audit import Audit
from app.api.auth import Viewer
from app.api.bodies import PlainRoute, UnitRoute
from app.api.context import Serving
from app.api.throttle import LoginThrottle
from app.contract.resources.access import Login, Session
from app.kit.database import UnitOfWork
from app.kit.logging import get_logger
from app.kit.requestid import request_id
from app.kit.transaction import Uow
from app.migration.access import audit, sessions, users
from app.migration.access.errors import LoginFailed
from app.migration.services import Services

_log = get_logger("go2cloud.sessions")

closing = APIRouter(route_class=UnitRoute)


def opening(throttle: LoginThrottle) -> APIRouter:
    """The route that logs in, braked by `throttle`."""
    router = APIRouter(route_class=PlainRoute)

    @router.post("/sessions", status_code=status.HTTP_201_CREATED)
    async def log_in(request: Request, serving: Serving, body: Login) -> Session:
        """Open a session. Needs no credential; attempts are counted per name and address."""
        address = request.client.host if request.client else "unknown"
        throttle.admit(body.user, address, serving.settings.access.login_attempts_per_minute)
        account = await _checked(serving, body, address)
        return Session.model_validate(await _opened(serving, account, request_id(request)))

    return router


@closing.delete("/sessions/current", status_code=status.HTTP_204_NO_CONTENT)
async def log_out(uow: Uow, who: Viewer, record: Audit) -> Response:
    """Close the session that the request came with; an API token is left alone."""
    await sessions.close_session(uow, who.credential_id)
    await record("session.close", who.credential_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


async def _checked(serving: Services, body: Login, address: str) -> users.Account:
    async with serving.database.reading() as uow:
        try:
            return await users.check_password(uow, body.user, body.password)
        except LoginFailed:
            _log.warning("login.failed", user=body.user, address=address)
            raise


async def _opened(serving: Services, account: users.Account, request: str | None) -> sessions.NewSession:
    life = timedelta(hours=serving.settings.access.session_hours)

    async def work(uow: UnitOfWork) -> sessions.NewSession:
        opened = await sessions.open_session(uow, account, life)
        actor, change = audit.Actor(account.id, account.name), audit.Change("session.open", opened.id)
        await audit.record(uow, actor, change, request)
        return opened

    return await serving.database.run(work)
