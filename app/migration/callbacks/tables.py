"""Rows of subscriptions, and of the events that they are still to be told."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id, JsonText, UtcDateTime

MOST_DETAIL = 500
COUNTER = BigInteger().with_variant(Integer, "sqlite")


class SubscriptionRow(Base):
    """Who is told of events, and how that went. `kinds` None: of all kinds.

    The built-in one belongs to no project, and its secret stands in the settings. The process `holder`
    delivers to it under the number `fence`, which every claim raises; `beat` is raised by every sign of life.
    Nothing is delivered before `not_before`; `failures` counts attempts since the last success.
    """

    __tablename__ = "subscription"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str | None] = mapped_column(Id, ForeignKey("project.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    url: Mapped[str] = mapped_column(String(2000))
    kinds: Mapped[Sequence[str] | None] = mapped_column(JsonText)
    secret: Mapped[str] = mapped_column(String(200), default="")
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer, default=1)

    holder: Mapped[str] = mapped_column(String(64), default="")
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    beat: Mapped[int] = mapped_column(BigInteger, default=0)

    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    dropped: Mapped[int] = mapped_column(Integer, default=0)
    last_success_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure: Mapped[str | None] = mapped_column(String(MOST_DETAIL))


class OutboxRow(Base):
    """An event that a subscription is still to be told; delivered ones are gone.

    `number` gives the order. `body` is what is sent. An event that the receiver refused steps aside until
    `not_before`. There is no foreign key: its shared lock would make every change that has news wait for
    whoever delivers. What names no subscription is swept away.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_subscription_id_number", "subscription_id", "number"),)

    number: Mapped[int] = mapped_column(COUNTER, primary_key=True, autoincrement=True)
    subscription_id: Mapped[str] = mapped_column(Id)
    event_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
