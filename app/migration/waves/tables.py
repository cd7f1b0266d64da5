"""Rows of waves, of applications with their servers, and of runs.

A run is a job: its row here has the job's id, and `wave_run_server` has its servers as they were planned when
it was ordered. Rows of runs name waves and applications without a foreign key: they outlive both.
"""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id, JsonText, UtcDateTime


class WaveRow(Base):
    """A wave. `stop_after_failures` None: failures stop no run. `version` counts its changes."""

    __tablename__ = "wave"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("project.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    description: Mapped[str] = mapped_column(Text)
    planned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    servers_at_once: Mapped[int] = mapped_column(Integer)
    stop_after_failures: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer)


class ApplicationRow(Base):
    """An application; `version` counts its changes, those of its servers and of its wave included."""

    __tablename__ = "application"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("project.id"), index=True)
    wave_id: Mapped[str | None] = mapped_column(Id, ForeignKey("wave.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer)


class ApplicationServerRow(Base):
    """A server of an application; its key lets it belong to one only. Lower groups come first."""

    __tablename__ = "application_server"

    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), primary_key=True)
    application_id: Mapped[str] = mapped_column(Id, ForeignKey("application.id"), index=True)
    priority_group: Mapped[int] = mapped_column(Integer)


class ApplicationOrderRow(Base):
    """An application comes after another one."""

    __tablename__ = "application_order"

    application_id: Mapped[str] = mapped_column(Id, ForeignKey("application.id"), primary_key=True)
    after_id: Mapped[str] = mapped_column(Id, ForeignKey("application.id"), primary_key=True, index=True)


class WaveRunRow(Base):
    """A run of a wave, or of an application (then `wave_id` is its wave then).

    `attempt` counts its beginnings, retries included; `is_over` says that the next one raises it. `abort` is
    an AbortMode of the present attempt. `at_once` and `stop_after` are its bounds.
    """

    __tablename__ = "wave_run"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), primary_key=True)
    wave_id: Mapped[str | None] = mapped_column(Id, index=True)
    application_id: Mapped[str | None] = mapped_column(Id, index=True)
    of_wave: Mapped[bool] = mapped_column(Boolean)
    operation: Mapped[str] = mapped_column(String(32))
    at_once: Mapped[int] = mapped_column(Integer)
    stop_after: Mapped[int | None] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    is_over: Mapped[bool] = mapped_column(Boolean, default=False)
    abort: Mapped[str | None] = mapped_column(String(16))
    aborted_by: Mapped[str] = mapped_column(String(200), default="")


class WaveRunServerRow(Base):
    """A server of a run, in its order. `after` are the ids of the servers that must be done before it.

    `outcome` is REFUSED or UNCHANGED, found in `attempt`, with its reasons; servers that were begun have a
    child job instead, named by server and attempt; in the attempt `resumed` the failed job of an earlier one
    goes on. `told` is the state that the run's events last spoke of.
    """

    __tablename__ = "wave_run_server"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("wave_run.job_id"), primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    server_name: Mapped[str] = mapped_column(String(253))
    application_id: Mapped[str] = mapped_column(Id)
    application_name: Mapped[str] = mapped_column(String(63))
    priority_group: Mapped[int] = mapped_column(Integer)
    after: Mapped[list[str]] = mapped_column(JsonText)
    outcome: Mapped[str | None] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    resumed: Mapped[int] = mapped_column(Integer, default=0)
    code: Mapped[str | None] = mapped_column(String(100))
    detail: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
    told: Mapped[str | None] = mapped_column(String(32))
