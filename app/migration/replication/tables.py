"""Rows of replication: sessions, checkpoints, and where each chunk and tree node of the store stands.

`reference` of a pack or node counts the commits that came to refer to it. Garbage collection remembers the
count before it looks what is reachable and condemns only where the count is still the same, so that a
commit in between is never lost sight of.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Hash32, Id, JsonText, UtcDateTime


class SessionRow(Base):
    """A replication session: the right of one agent instance to write, fenced by its generation."""

    __tablename__ = "session"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    base_checkpoint_id: Mapped[str | None] = mapped_column(Id)
    proof_key: Mapped[bytes] = mapped_column(Hash32)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    active_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CheckpointRow(Base):
    """A committed point in time of all disks of a server.

    The source was frozen for `freeze_ms`, after `rounds` passes over what was written meanwhile. `kept`: a
    machine was made of it, so retention never drops it.
    """

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("server_id", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, index=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"))
    number: Mapped[int] = mapped_column(BigInteger)
    parent_id: Mapped[str | None] = mapped_column(Id)
    generation: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(32))
    tracker: Mapped[str] = mapped_column(String(255))
    source_time: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed: Mapped[bool] = mapped_column(Boolean, default=True)
    counters: Mapped[dict[str, int]] = mapped_column(JsonText)
    freeze_ms: Mapped[int] = mapped_column(Integer, default=0)
    rounds: Mapped[int] = mapped_column(Integer, default=0)
    kept: Mapped[bool] = mapped_column(Boolean, default=False)


class DiskRootRow(Base):
    """The content of one disk in a checkpoint; `omitted` and `unreadable` are lists of [offset, length],
    `used_bytes` counts its chunks that are not zero."""

    __tablename__ = "disk_root"

    checkpoint_id: Mapped[str] = mapped_column(
        Id, ForeignKey("checkpoint.id", ondelete="CASCADE"), primary_key=True
    )
    disk_id: Mapped[str] = mapped_column(Id, ForeignKey("disk.id"), primary_key=True)
    root: Mapped[bytes] = mapped_column(Hash32, index=True)
    parent_root: Mapped[bytes | None] = mapped_column(Hash32)
    size: Mapped[int] = mapped_column(BigInteger)
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    chunk_size: Mapped[int] = mapped_column(Integer)
    label: Mapped[str] = mapped_column(String(16))
    omitted: Mapped[list[list[int]]] = mapped_column(JsonText)
    unreadable: Mapped[list[list[int]]] = mapped_column(JsonText)


class PackRow(Base):
    """A pack of the store; `state` is live or condemned, `raw_bytes` the plain length of its chunks."""

    __tablename__ = "pack"

    name: Mapped[bytes] = mapped_column(Hash32, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    server_id: Mapped[str] = mapped_column(Id, index=True)
    session_id: Mapped[str | None] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(10))
    reference: Mapped[int] = mapped_column(Integer, default=0)
    stored_bytes: Mapped[int] = mapped_column(BigInteger)
    raw_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    condemned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ChunkRow(Base):
    """Where a project's chunk is stored. `base` is the chunk that a delta record stands on."""

    __tablename__ = "chunk"
    __table_args__ = (Index("ix_chunk_pack", "pack"),)

    project_id: Mapped[str] = mapped_column(Id, primary_key=True)
    id: Mapped[bytes] = mapped_column(Hash32, primary_key=True)
    pack: Mapped[bytes] = mapped_column(Hash32)
    position: Mapped[int] = mapped_column(BigInteger)
    stored_length: Mapped[int] = mapped_column(Integer)
    raw_length: Mapped[int] = mapped_column(Integer)
    codec: Mapped[int] = mapped_column(Integer)
    base: Mapped[bytes | None] = mapped_column(Hash32)
    depth: Mapped[int] = mapped_column(Integer)
    damaged: Mapped[bool] = mapped_column(Boolean, default=False)


class NodeRow(Base):
    """A leaf or a root node of the store; `kind` is leaf or root, `state` live or condemned."""

    __tablename__ = "node"

    name: Mapped[bytes] = mapped_column(Hash32, primary_key=True)
    kind: Mapped[str] = mapped_column(String(4))
    session_id: Mapped[str | None] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(10))
    reference: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    condemned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class GrantRow(Base):
    """A server proved that it holds a chunk that another server put."""

    __tablename__ = "chunk_grant"

    server_id: Mapped[str] = mapped_column(Id, primary_key=True)
    chunk_id: Mapped[bytes] = mapped_column(Hash32, primary_key=True)
