"""Credentials of agents: one secret per server, bound to it and to nothing else."""

from sqlalchemy import select, update

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.kit.secrets import digest, new_secret
from app.migration.access.errors import CredentialInvalid
from app.migration.access.tables import AgentCredential

AGENT_PREFIX = "g2a"


async def issue_agent_credential(uow: UnitOfWork, server_id: str) -> str:
    """The new secret of a server's agent; older ones of that server are worthless from now on."""
    await revoke_agent_credentials(uow, server_id)
    secret = new_secret(AGENT_PREFIX)
    uow.session.add(
        AgentCredential(id=new_id("agc"), server_id=server_id, hash=digest(secret), created_at=uow.now)
    )
    await uow.session.flush()
    return secret


async def revoke_agent_credentials(uow: UnitOfWork, server_id: str) -> None:
    """Shut the agent of a server out; repeating it changes nothing."""
    valid = (AgentCredential.server_id == server_id, AgentCredential.revoked_at.is_(None))
    await uow.session.execute(update(AgentCredential).where(*valid).values(revoked_at=uow.now))


async def agent_of(uow: UnitOfWork, secret: str) -> str:
    """The id of the server that the secret speaks for; raises CredentialInvalid AGENT_CREDENTIAL_INVALID."""
    valid = (AgentCredential.hash == digest(secret), AgentCredential.revoked_at.is_(None))
    server_id = await uow.session.scalar(select(AgentCredential.server_id).where(*valid))
    if server_id is None:
        raise CredentialInvalid(
            "the agent's credential is unknown or was replaced by a later enrolment",
            code="AGENT_CREDENTIAL_INVALID",
            remedy="enrol the agent again with a new install token",
        )
    return server_id
