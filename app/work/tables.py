"""Rows of jobs: the jobs, the journal of their steps, their events, and the limits that they wait for.

They name projects and servers by id only: this room lies below the features that have those tables.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import WorkState
from app.kit.database import Base, Id, JsonText, UtcDateTime
from app.kit.errors import Json

MOST_NAME = 100
MOST_TEXT = 4000
MOST_PROGRESS_TEXT = 200


class JobRow(Base):
    """A job. `step` is the number of the step to be run or undone next, at `place`.

    The process `holder` has the job under the number `fence`, which every claim raises; `beat` is raised by
    every sign of life. `origin` makes a child job once, `subject` has one standing job at a time
    (`standing_for` is the subject until the job is over, and unique). `unwinding` says why it is being
    undone. `has_slots`: it has a slot of each of its limits. `is_parked`: it waits until at most
    `may_stand` of its children stand.
    `is_final`: a step was begun after which nothing is undone.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_state_place_priority", "state", "place", "priority"),
        Index("ix_job_parent_id_state", "parent_id", "state"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(MOST_NAME))
    project_id: Mapped[str] = mapped_column(Id, index=True)
    server_id: Mapped[str | None] = mapped_column(Id, index=True)
    parent_id: Mapped[str | None] = mapped_column(Id, ForeignKey("job.id"))
    origin: Mapped[str | None] = mapped_column(String(200), unique=True)
    subject: Mapped[str | None] = mapped_column(String(MOST_NAME), index=True)
    standing_for: Mapped[str | None] = mapped_column(String(MOST_NAME), unique=True)
    requested_by: Mapped[str] = mapped_column(String(200), default="")
    priority: Mapped[int] = mapped_column(Integer, default=0)
    input: Mapped[Json] = mapped_column(JsonText)
    result: Mapped[Json] = mapped_column(JsonText)

    state: Mapped[str] = mapped_column(String(16), default=WorkState.PENDING)
    unwinding: Mapped[str | None] = mapped_column(String(16))
    step: Mapped[int] = mapped_column(Integer, default=0)
    place: Mapped[str] = mapped_column(String(16))
    node: Mapped[str | None] = mapped_column(String(MOST_NAME))
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_parked: Mapped[bool] = mapped_column(Boolean, default=False)
    may_stand: Mapped[int] = mapped_column(Integer, default=0)
    has_slots: Mapped[bool] = mapped_column(Boolean, default=False)
    is_final: Mapped[bool] = mapped_column(Boolean, default=False)
    cancel_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    holder: Mapped[str] = mapped_column(String(64), default="")
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    beat: Mapped[int] = mapped_column(BigInteger, default=0)

    progress: Mapped[int] = mapped_column(Integer, default=0)
    progress_text: Mapped[str] = mapped_column(String(MOST_PROGRESS_TEXT), default="")
    event_count: Mapped[int] = mapped_column(Integer, default=0)
    code: Mapped[str | None] = mapped_column(String(MOST_NAME))
    detail: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobStepRow(Base):
    """A step in the journal of its job.

    `attempts` counts how often it was begun and `failures` how often it ended in an error, both since the
    job last got on; `round` counts how often it was undone.
    """

    __tablename__ = "job_step"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(MOST_NAME))
    place: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default=WorkState.PENDING)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    round: Mapped[int] = mapped_column(Integer, default=0)
    result: Mapped[Json] = mapped_column(JsonText)
    code: Mapped[str | None] = mapped_column(String(MOST_NAME))
    detail: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobEventRow(Base):
    """Something that happened in a job; `number` counts from 1 within the job, without gaps."""

    __tablename__ = "job_event"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    level: Mapped[str] = mapped_column(String(16))
    step: Mapped[str | None] = mapped_column(String(MOST_NAME))
    server_id: Mapped[str | None] = mapped_column(Id)
    text: Mapped[str] = mapped_column(Text)


class JobLimitRow(Base):
    """At most `most` jobs that name `key` run at once."""

    __tablename__ = "job_limit"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(MOST_NAME), primary_key=True)
    most: Mapped[int] = mapped_column(Integer)


class JobSlotRow(Base):
    """One of the slots of a limit, taken by a job. The key makes it impossible that two jobs have it."""

    __tablename__ = "job_slot"

    key: Mapped[str] = mapped_column(String(MOST_NAME), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), index=True)
