"""Rows of servers and their disks."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import LifecycleState, ReplicationGoal, ReplicationState
from app.kit.database import Base, Id, JsonText, UtcDateTime


class ServerRow(Base):
    """A source server. `generation` and `head_checkpoint_id` change only by guarded updates.

    `instance` is that of the agent which has the lease, had it last, or has enrolled and not polled yet (then
    without a `lease_until`); empty after it left.

    `goal`, `checkpoint_interval_seconds` (None: the installation's, 0: only on command), `rescan_request` and
    `wire_rate` (bytes a second, None: no limit of its own) are orders to the agent. `status` is a wire Status
    as JSON, received at `status_at`; `clock_skew_ms` is the source's clock minus the service's. Replication
    stands as it does since `replication_since`; the pass got on last at `moved_at`, and since
    `diverging_since` more is written than can be sent. `reverse_of` is the server whose launched machine this
    one is, None of a source.
    """

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
    goal: Mapped[str] = mapped_column(String(16), default=ReplicationGoal.RUN)
    checkpoint_interval_seconds: Mapped[int | None] = mapped_column(Integer)
    rescan_request: Mapped[str | None] = mapped_column(Id)
    wire_rate: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[dict[str, object] | None] = mapped_column(JsonText)
    status_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    clock_skew_ms: Mapped[int] = mapped_column(BigInteger, default=0)
    replication_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    moved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    diverging_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reverse_of: Mapped[str | None] = mapped_column(Id, index=True)
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
