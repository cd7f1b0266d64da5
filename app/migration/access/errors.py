"""Refusals of access.

Unauthenticated
├── CredentialInvalid    the secret is unknown, malformed or revoked
├── CredentialExpired    the secret was good once
└── LoginFailed          user or password is wrong (which one is not said)
Conflict
└── UserExists
NotFound
├── UserNotFound
├── TokenNotFound
└── InstallTokenNotFound
"""

from app.kit.errors import Conflict, NotFound, Unauthenticated


class CredentialInvalid(Unauthenticated):
    """The secret is unknown, malformed or revoked."""

    code = "TOKEN_INVALID"


class CredentialExpired(Unauthenticated):
    """The secret was good once."""

    code = "TOKEN_EXPIRED"


class LoginFailed(Unauthenticated):
    """User or password is wrong; which one is not said."""

    code = "LOGIN_FAILED"

    def __init__(self) -> None:
        """The one sentence for both cases."""
        super().__init__(
            "user or password is wrong",
            remedy="an administrator sets a new password with: go2cloud admin reset-password NAME",
        )


class UserExists(Conflict):
    """The name is taken."""

    code = "USER_EXISTS"


class UserNotFound(NotFound):
    """No user has this name."""

    code = "USER_NOT_FOUND"


class TokenNotFound(NotFound):
    """No API token has this id."""

    code = "TOKEN_NOT_FOUND"


class InstallTokenNotFound(NotFound):
    """No install token has this id in the projects of the caller."""

    code = "INSTALL_TOKEN_NOT_FOUND"
