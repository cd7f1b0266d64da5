"""The front of access for other features and edges: one name for each thing that can be asked of it.

Larger topics stand in modules of their own: `principals`, `users`, `sessions`, `tokens`, `install_tokens`,
`agents`, `audit`, `idempotency`.
"""

from app.migration.access.agents import agent_of, issue_agent_credential, revoke_agent_credentials
from app.migration.access.install_tokens import InstallGrant, redeem_install_token
from app.migration.access.principals import Principal, authenticate
from app.migration.access.users import (
    OneTimePassword,
    create_administrator,
    ensure_administrator,
    reset_password,
)

__all__ = [
    "InstallGrant",
    "OneTimePassword",
    "Principal",
    "agent_of",
    "authenticate",
    "create_administrator",
    "ensure_administrator",
    "issue_agent_credential",
    "redeem_install_token",
    "reset_password",
    "revoke_agent_credentials",
]
