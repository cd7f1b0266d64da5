"""Rows of publishing."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id


class PublishingRow(Base):
    """A checkpoint that a job is making images of, so that retention keeps it; it goes with the job's end."""

    __tablename__ = "publishing"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(Id, index=True)
