"""All routes of the platform; the composition root puts them at the top."""

from fastapi import APIRouter

from app.platform import proxy, session, start


def router() -> APIRouter:
    """The start page, the session cookie and the proxy."""
    every = APIRouter()
    for part in (start, session, proxy):
        every.include_router(part.router)
    return every
