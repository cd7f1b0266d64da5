"""The first schema."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "agent_credential",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("hash", columns.Hash32(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("revoked_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_credential")),
        sa.UniqueConstraint("hash", name=op.f("uq_agent_credential_hash")),
    )
    with op.batch_alter_table("agent_credential", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_agent_credential_server_id"), ["server_id"], unique=False)

    op.create_table(
        "api_token",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("hash", columns.Hash32(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=True),
        sa.Column("last_used_at", columns.UtcDateTime(), nullable=True),
        sa.Column("revoked_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_token_hash")),
    )
    op.create_table(
        "audit",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("at", columns.UtcDateTime(), nullable=False),
        sa.Column("principal_id", columns.Id(), nullable=False),
        sa.Column("principal_name", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=True),
        sa.Column("details", columns.JsonText(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_project_id_id", ["project_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_resource"), ["resource"], unique=False)

    op.create_table(
        "chunk",
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("id", columns.Hash32(), nullable=False),
        sa.Column("pack", columns.Hash32(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("stored_length", sa.Integer(), nullable=False),
        sa.Column("raw_length", sa.Integer(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("base", columns.Hash32(), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("damaged", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id", name=op.f("pk_chunk")),
    )
    with op.batch_alter_table("chunk", schema=None) as batch_op:
        batch_op.create_index("ix_chunk_pack", ["pack"], unique=False)

    op.create_table(
        "chunk_grant",
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("chunk_id", columns.Hash32(), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "chunk_id", name=op.f("pk_chunk_grant")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("principal_id", columns.Id(), nullable=False),
        sa.Column("hash", columns.Hash32(), nullable=False),
        sa.Column("digest", columns.Hash32(), nullable=False),
        sa.Column("resource_id", columns.Id(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", "hash", name=op.f("pk_idempotency_key")),
    )
    with op.batch_alter_table("idempotency_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_key_created_at"), ["created_at"], unique=False)

    op.create_table(
        "install_token",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("hash", columns.Hash32(), nullable=False),
        sa.Column("uses_allowed", sa.Integer(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=False),
        sa.Column("revoked_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_install_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_install_token_hash")),
    )
    with op.batch_alter_table("install_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_install_token_project_id"), ["project_id"], unique=False)

    op.create_table(
        "node",
        sa.Column("name", columns.Hash32(), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("session_id", columns.Id(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("condemned_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    with op.batch_alter_table("node", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_node_session_id"), ["session_id"], unique=False)

    op.create_table(
        "pack",
        sa.Column("name", columns.Hash32(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("session_id", columns.Id(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("condemned_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pack")),
    )
    with op.batch_alter_table("pack", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pack_server_id"), ["server_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pack_session_id"), ["session_id"], unique=False)

    op.create_table(
        "project",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("dedup_scope", sa.String(length=16), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.create_table(
        "user",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("administrator", sa.Boolean(), nullable=False),
        sa.Column("password_must_change", sa.Boolean(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("name", name=op.f("uq_user_name")),
    )
    op.create_table(
        "server",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("hostname", sa.String(length=253), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("lifecycle_state", sa.String(length=32), nullable=False),
        sa.Column("replication_state", sa.String(length=32), nullable=False),
        sa.Column("replication_reason", sa.String(length=32), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("machine_id", sa.String(length=64), nullable=False),
        sa.Column("agent_version", sa.String(length=64), nullable=False),
        sa.Column("inventory", columns.JsonText(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("head_checkpoint_id", columns.Id(), nullable=True),
        sa.Column("instance", sa.String(length=200), nullable=False),
        sa.Column("lease_until", columns.UtcDateTime(), nullable=True),
        sa.Column("last_seen_at", columns.UtcDateTime(), nullable=True),
        sa.Column("sync_requested", sa.Boolean(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_server_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_server_project_id_name")),
    )
    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_server_project_id"), ["project_id"], unique=False)

    op.create_table(
        "web_session",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("user_id", columns.Id(), nullable=False),
        sa.Column("hash", columns.Hash32(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_web_session_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("hash", name=op.f("uq_web_session_hash")),
    )
    with op.batch_alter_table("web_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_web_session_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_web_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "checkpoint",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", columns.Id(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("tracker", sa.String(length=255), nullable=False),
        sa.Column("source_time", columns.UtcDateTime(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("counters", columns.JsonText(), nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_checkpoint_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint")),
        sa.UniqueConstraint("server_id", "number", name=op.f("uq_checkpoint_server_id_number")),
    )
    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_checkpoint_project_id"), ["project_id"], unique=False)

    op.create_table(
        "disk",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("disk_key", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sector_size", sa.Integer(), nullable=False),
        sa.Column("chunk_size", sa.Integer(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("facts", columns.JsonText(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_disk_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disk")),
        sa.UniqueConstraint("server_id", "disk_key", name=op.f("uq_disk_server_id_disk_key")),
    )
    op.create_table(
        "session",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("base_checkpoint_id", columns.Id(), nullable=True),
        sa.Column("proof_key", columns.Hash32(), nullable=False),
        sa.Column("opened_at", columns.UtcDateTime(), nullable=False),
        sa.Column("active_at", columns.UtcDateTime(), nullable=False),
        sa.Column("ended_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_session_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_session_server_id"), ["server_id"], unique=False)

    op.create_table(
        "disk_root",
        sa.Column("checkpoint_id", columns.Id(), nullable=False),
        sa.Column("disk_id", columns.Id(), nullable=False),
        sa.Column("root", columns.Hash32(), nullable=False),
        sa.Column("parent_root", columns.Hash32(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunk_size", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("omitted", columns.JsonText(), nullable=False),
        sa.Column("unreadable", columns.JsonText(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_disk_root_checkpoint_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["disk_id"], ["disk.id"], name=op.f("fk_disk_root_disk_id")),
        sa.PrimaryKeyConstraint("checkpoint_id", "disk_id", name=op.f("pk_disk_root")),
    )
    with op.batch_alter_table("disk_root", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_disk_root_root"), ["root"], unique=False)


def downgrade() -> None:
    """Drop all tables."""
    op.drop_table("disk_root")
    op.drop_table("session")
    op.drop_table("disk")
    op.drop_table("checkpoint")
    op.drop_table("web_session")
    op.drop_table("server")
    op.drop_table("user")
    op.drop_table("project")
    op.drop_table("pack")
    op.drop_table("node")
    op.drop_table("install_token")
    op.drop_table("idempotency_key")
    op.drop_table("chunk_grant")
    op.drop_table("chunk")
    op.drop_table("audit")
    op.drop_table("api_token")
    op.drop_table("agent_credential")
