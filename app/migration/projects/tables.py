"""Rows of projects."""

from datetime import datetime

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id, JsonText, UtcDateTime


class ProjectRow(Base):
    """A project; `version` counts its changes, `pace` is a contract Pace as JSON, None for no limit."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    description: Mapped[str] = mapped_column(Text)
    dedup_scope: Mapped[str] = mapped_column(String(16))
    pace: Mapped[dict[str, object] | None] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer)
