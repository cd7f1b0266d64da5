"""Sessions, tokens, install tokens and the audit trail.

Secrets are in the answer that creates them and never again; the service stores their hashes only.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.words import PrincipalKind, Role

Label = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
"""A name that people give to a token."""

TokenLife = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=3650))]
InstallTokenLife = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=366))]
Password = Annotated[str, StringConstraints(min_length=12, max_length=256)]


class Login(Input):
    """Credentials of a user."""

    user: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Session(Resource):
    """A login; `token` is the bearer secret, shown once."""

    id: str
    user: str
    expires_at: UtcTime
    token: str


class Me(Resource):
    """Who the caller is and what it may do; `project_ids` is None when it sees every project."""

    id: str
    kind: PrincipalKind
    name: str
    role: Role
    project_ids: tuple[str, ...] | None
    password_must_change: bool = False


class PasswordChange(Input):
    """A new password for the logged-in user."""

    current: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    new: Password


class Token(Resource):
    """An API token; `project_id` None means every project; `secret` only in the answer that created it."""

    id: str
    name: str
    project_id: str | None
    role: Role
    created_at: UtcTime
    expires_at: UtcTime | None
    last_used_at: UtcTime | None
    revoked_at: UtcTime | None
    secret: str | None = None


class TokenCreate(Input):
    """An API token to be created; `project` by id or name, absent for every project.

    `expires_in` is an ISO-8601 duration; absent means it holds until it is revoked. An administrator's token
    cannot be bound to a project.
    """

    name: Label
    project: str | None = None
    role: Role = Role.OPERATOR
    expires_in: TokenLife | None = None


class InstallToken(Resource):
    """What enrols agents into a project; `secret` only in the answer that created it.

    The secret is the text that the agent's `enroll --token` takes, with the fingerprint of the service's
    certificate appended where one is configured; `agent_url` is what `enroll --url` takes, where the
    administrator configured it (AGENT.PUBLIC_URL).
    """

    id: str
    project_id: str
    name: str
    uses_allowed: int
    uses_left: int
    created_at: UtcTime
    expires_at: UtcTime
    revoked_at: UtcTime | None
    secret: str | None = None
    agent_url: str | None = None


class InstallTokenCreate(Input):
    """An install token to be created; `project` by id or name."""

    project: str = "default"
    name: Label
    uses: Annotated[int, Field(ge=1, le=1000)] = 1
    expires_in: InstallTokenLife = timedelta(days=1)


class AuditEntry(Resource):
    """One change that somebody made; `resource` is the id of what was changed."""

    id: str
    at: UtcTime
    principal_id: str
    principal_name: str
    action: str
    resource: str
    project_id: str | None
    details: dict[str, JsonValue]
    request_id: str | None
