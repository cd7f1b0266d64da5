"""Rows of access. Random secrets are stored as SHA-256, passwords as Argon2, none as itself."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Hash32, Id, JsonText, UtcDateTime
from app.kit.errors import Json


class User(Base):
    """Somebody who logs in with a password. Names are lower-case."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    administrator: Mapped[bool] = mapped_column(Boolean)
    password_must_change: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class WebSession(Base):
    """A login of a user, until it expires or is closed."""

    __tablename__ = "web_session"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id", ondelete="CASCADE"), index=True)
    hash: Mapped[bytes] = mapped_column(Hash32, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ApiToken(Base):
    """A bearer secret for scripts; `project_id` None reaches every project."""

    __tablename__ = "api_token"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    project_id: Mapped[str | None] = mapped_column(Id)
    role: Mapped[str] = mapped_column(String(16))
    hash: Mapped[bytes] = mapped_column(Hash32, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class InstallToken(Base):
    """What enrols agents into a project, a counted number of times, or the way back of `reverse_of`."""

    __tablename__ = "install_token"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, index=True)
    name: Mapped[str] = mapped_column(String(100))
    hash: Mapped[bytes] = mapped_column(Hash32, unique=True)
    uses_allowed: Mapped[int] = mapped_column(Integer)
    uses_left: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reverse_of: Mapped[str | None] = mapped_column(Id, index=True)


class AgentCredential(Base):
    """What an enrolled agent proves itself with; at most one of a server is not revoked."""

    __tablename__ = "agent_credential"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, index=True)
    hash: Mapped[bytes] = mapped_column(Hash32, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditRow(Base):
    """One change that somebody made, written in the transaction that made it."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    principal_id: Mapped[str] = mapped_column(Id)
    principal_name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(64))
    resource: Mapped[str] = mapped_column(String(64), index=True)
    project_id: Mapped[str | None] = mapped_column(Id)
    details: Mapped[dict[str, Json]] = mapped_column(JsonText)
    request_id: Mapped[str | None] = mapped_column(String(128))


class IdempotencyKey(Base):
    """A request that a client may repeat; `resource_id` is what the first one created.

    `hash` is the SHA-256 of route and key: compared byte by byte under any collation.
    """

    __tablename__ = "idempotency_key"

    principal_id: Mapped[str] = mapped_column(Id, primary_key=True)
    hash: Mapped[bytes] = mapped_column(Hash32, primary_key=True)
    digest: Mapped[bytes] = mapped_column(Hash32)
    resource_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
