"""All routes of the agent tier; the composition root puts them under /agent/v1."""

from fastapi import APIRouter, Depends

from app.agent.gateway import enrolment, hold, preflight, replication, verification
from app.agent.gateway.intake import wire_version


def router() -> APIRouter:
    """The routes that agents use; they stand in docs/wire.md, not in the OpenAPI document."""
    every = APIRouter(include_in_schema=False, dependencies=[Depends(wire_version)])
    every.include_router(enrolment.router)
    every.include_router(replication.router)
    every.include_router(preflight.router)
    every.include_router(verification.router)
    every.include_router(hold.router)
    return every
