"""Rows of servers and their disks."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import LifecycleState, ReplicationState
from app.kit.database import Base, Id, JsonText, UtcDateTime


class ServerRow(Base):
    """A source server. `generation` and `head_checkpoint_id` change only by guarded updates."""

    __tablename__ = "server"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("project.id"), index=True)
    name: Mapped[str] = mapped_column(String(253))
    hostname: Mapped[str] = mapped_column(String(253))
    description: Mapped[str] = mapped_column(Text, default="")
    lifecycle_state: Mapped[str] = mapped_column(String(32), default=LifecycleState.NOT_READY)
    replication_state: Mapped[str] = mapped_column(String(32), default=ReplicationState.STOPPED)
    replication_reason: Mapped[str | None] = mapped_column(String(32))
    archived: Mapped[bool] = mapped_column(Boolean, default=False)
    machine_id: Mapped[str] = mapped_column(String(64), default="")
    agent_version: Mapped[str] = mapped_column(String(64), default="")
    inventory: Mapped[dict[str, object]] = mapped_column(JsonText)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    head_checkpoint_id: Mapped[str | None] = mapped_column(Id)
    instance: Mapped[str] = mapped_column(String(200), default="")
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sync_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer, default=1)


class DiskRow(Base):
    """A disk of a server; `facts` is what the agent last reported of it (a wire Disk as JSON)."""

    __tablename__ = "disk"
    __table_args__ = (UniqueConstraint("server_id", "disk_key"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"))
    disk_key: Mapped[str] = mapped_column(String(255))
    path: Mapped[str] = mapped_column(String(1024))
    size: Mapped[int] = mapped_column(BigInteger)
    sector_size: Mapped[int] = mapped_column(Integer)
    chunk_size: Mapped[int] = mapped_column(Integer)
    present: Mapped[bool] = mapped_column(Boolean, default=True)
    facts: Mapped[dict[str, object]] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
