"""API tokens. An administrator's matter: a token reaches as far as its role and project say."""

from fastapi import APIRouter, status

from app.api.audit import Audit
from app.api.auth import Administrator
from app.api.bodies import UnitRoute
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.access import Token, TokenCreate
from app.contract.resources.base import Listing
from app.kit.database import UnitOfWork
from app.kit.transaction import Uow
from app.migration.access import tokens as service
from app.migration.access.principals import Principal
from app.migration.projects.service import get_project

router = APIRouter(route_class=UnitRoute)


@router.get("/tokens")
async def list_tokens(uow: Uow, _who: Administrator, page: Paging) -> Listing[Token]:
    """All API tokens, without their secrets."""
    return listing(Token, await service.list_tokens(uow, page))


@router.post("/tokens", status_code=status.HTTP_201_CREATED)
async def create_token(uow: Uow, who: Administrator, once: Once, record: Audit, body: TokenCreate) -> Token:
    """Create an API token. `secret` is in this answer only; a repeat of the request has it null."""

    async def create() -> service.Token:
        project_id = await _project_id(uow, who, body.project)
        made = await service.create_token(uow, body.name, project_id, body.role, body.expires_in)
        await record("token.create", made.id, project_id, name=made.name, role=made.role.value)
        return made

    return Token.model_validate(await once(body, create, lambda known: service.get_token(uow, known)))


@router.get("/tokens/{token}")
async def get_token(uow: Uow, _who: Administrator, token: str) -> Token:
    """One API token, without its secret."""
    return Token.model_validate(await service.get_token(uow, token))


@router.delete("/tokens/{token}")
async def revoke_token(uow: Uow, _who: Administrator, record: Audit, token: str) -> Token:
    """Revoke an API token for good; it stays in the list. Repeating it changes nothing."""
    revoked = await service.revoke_token(uow, token)
    await record("token.revoke", revoked.id, revoked.project_id)
    return Token.model_validate(revoked)


async def _project_id(uow: UnitOfWork, who: Principal, ref: str | None) -> str | None:
    return None if ref is None else (await get_project(uow, who.scope, ref)).id
