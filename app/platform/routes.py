"""All routes of the platform; the composition root puts them at the top."""

from fastapi import APIRouter

from app.platform import callbacks, proxy, session, start


def router() -> APIRouter:
    """The start page, the session cookie, the proxy, and what the API calls back."""
    every = APIRouter()
    for part in (start, session, proxy, callbacks):
        every.include_router(part.router)
    return every
