"""The session cookie: the API's opaque session secret, out of reach of scripts and of other sites."""

from datetime import datetime

from fastapi import Request, Response

from app.kit.errors import Unauthenticated

NAME = "g2c_session"


def give(
    request: Request, response: Response, secret: str, expires_at: datetime, *, always_secure: bool
) -> None:
    """Put the session into the browser; Secure wherever the browser speaks HTTPS."""
    response.set_cookie(
        NAME,
        secret,
        expires=expires_at,
        path="/",
        secure=always_secure or request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def take_back(response: Response) -> None:
    """Make the browser forget the session."""
    response.delete_cookie(NAME, path="/", httponly=True, samesite="strict")


def session_of(request: Request) -> str:
    """The session secret of a request; raises Unauthenticated NOT_LOGGED_IN without one."""
    secret = request.cookies.get(NAME)
    if not secret:
        raise Unauthenticated(
            "nobody is logged in", code="NOT_LOGGED_IN", remedy="log in at POST /bff/session"
        )
    return secret
