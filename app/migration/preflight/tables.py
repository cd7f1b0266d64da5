"""Rows of preflights."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import WorkState
from app.kit.database import Base, Id, JsonText, UtcDateTime


class PreflightRow(Base):
    """A check of a source host before it is replicated; `report` is a wire Preflight as JSON."""

    __tablename__ = "preflight"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default=WorkState.PENDING)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    report: Mapped[dict[str, object] | None] = mapped_column(JsonText)
