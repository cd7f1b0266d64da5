"""Install tokens: what enrols agents."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from app.api.audit import Audit
from app.api.auth import Operator
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.access import InstallToken, InstallTokenCreate
from app.contract.resources.base import Listing
from app.kit.transaction import Uow
from app.migration.access import install_tokens as service
from app.migration.projects.service import get_project

router = APIRouter(route_class=UnitRoute)


@router.get("/installTokens")
async def list_install_tokens(
    uow: Uow,
    who: Operator,
    page: Paging,
    project: Annotated[str | None, Query(description="Id or name")] = None,
) -> Listing[InstallToken]:
    """The install tokens of the caller's projects, without their secrets."""
    project_id = None if project is None else (await get_project(uow, who.scope, project)).id
    return listing(InstallToken, await service.list_install_tokens(uow, who.scope, project_id, page))


@router.post("/installTokens", status_code=status.HTTP_201_CREATED)
async def create_install_token(
    uow: Uow, who: Operator, serving: Serving, once: Once, record: Audit, body: InstallTokenCreate
) -> InstallToken:
    """Create an install token. `secret` is in this answer only; a repeat of the request has it null."""

    async def create() -> service.InstallToken:
        project = await get_project(uow, who.scope, body.project)
        pin = serving.settings.agent.cert_fingerprint
        made = await service.create_install_token(uow, project.id, body.name, body.uses, body.expires_in, pin)
        await record("installToken.create", made.id, project.id, name=made.name, uses=made.uses_allowed)
        return made

    made = await once(body, create, lambda known: service.get_install_token(uow, who.scope, known))
    url = serving.settings.agent.public_url
    return InstallToken.model_validate(made).model_copy(update={"agent_url": url})


@router.get("/installTokens/{token}")
async def get_install_token(uow: Uow, who: Operator, token: str) -> InstallToken:
    """One install token, without its secret."""
    return InstallToken.model_validate(await service.get_install_token(uow, who.scope, token))


@router.delete("/installTokens/{token}")
async def revoke_install_token(uow: Uow, who: Operator, record: Audit, token: str) -> InstallToken:
    """Let nobody enrol with the token any more; agents that did stay. Repeating it changes nothing."""
    revoked = await service.revoke_install_token(uow, who.scope, token)
    await record("installToken.revoke", revoked.id, revoked.project_id)
    return InstallToken.model_validate(revoked)
