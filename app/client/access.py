"""Calls on sessions, the caller itself, tokens, install tokens and the audit trail."""

from app.client.call import Call, model, nothing, repeatable, segment
from app.contract.resources.access import (
    AuditEntry,
    InstallToken,
    InstallTokenCreate,
    Login,
    Me,
    PasswordChange,
    Session,
    Token,
    TokenCreate,
)
from app.contract.resources.base import Listing


def log_in(user: str, password: str) -> Call[Session]:
    """Open a session; needs no token."""
    return Call("POST", "/sessions", model(Session), body=Login(user=user, password=password))


def log_out() -> Call[None]:
    """Close the session that the client's token belongs to."""
    return Call("DELETE", "/sessions/current", nothing)


def me() -> Call[Me]:
    """Who the caller is."""
    return Call("GET", "/me", model(Me))


def change_password(current: str, new: str) -> Call[None]:
    """Set the caller's password."""
    return Call("PUT", "/me/password", nothing, body=PasswordChange(current=current, new=new))


def tokens(cursor: str | None = None) -> Call[Listing[Token]]:
    """A page of API tokens."""
    return Call("GET", "/tokens", model(Listing[Token]), {"cursor": cursor})


def create_token(body: TokenCreate, key: str | None = None) -> Call[Token]:
    """Create an API token; its secret is in this answer only."""
    return Call("POST", "/tokens", model(Token), body=body, headers=repeatable(key))


def revoke_token(token_id: str) -> Call[Token]:
    """Revoke an API token for good."""
    return Call("DELETE", f"/tokens/{segment(token_id)}", model(Token))


def install_tokens(cursor: str | None = None, *, project: str | None = None) -> Call[Listing[InstallToken]]:
    """A page of install tokens."""
    return Call("GET", "/installTokens", model(Listing[InstallToken]), {"cursor": cursor, "project": project})


def create_install_token(body: InstallTokenCreate, key: str | None = None) -> Call[InstallToken]:
    """Create an install token; its secret is in this answer only."""
    return Call("POST", "/installTokens", model(InstallToken), body=body, headers=repeatable(key))


def revoke_install_token(token_id: str) -> Call[InstallToken]:
    """Let nobody enrol with the token any more."""
    return Call("DELETE", f"/installTokens/{segment(token_id)}", model(InstallToken))


def audit(cursor: str | None = None, *, resource: str | None = None) -> Call[Listing[AuditEntry]]:
    """A page of the audit trail, the newest first."""
    return Call("GET", "/audit", model(Listing[AuditEntry]), {"cursor": cursor, "resource": resource})
