"""Rows of targets that follow servers."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id, UtcDateTime


class FollowRow(Base):
    """A target that is kept up to date with a server.

    `checkpoint_id` is what its volumes are, `ordered_id` the newest checkpoint for which a job was ordered: a
    checkpoint whose job failed is not tried again, the next one is.
    """

    __tablename__ = "target_follow"

    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), primary_key=True)
    target_id: Mapped[str] = mapped_column(Id, ForeignKey("target.id"), index=True)
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    checkpoint_number: Mapped[int | None] = mapped_column(BigInteger)
    ordered_id: Mapped[str | None] = mapped_column(Id)
    job_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    advanced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
