"""Rows of verifications."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import WorkState
from app.kit.database import Base, Id, JsonText, UtcDateTime


class VerificationRow(Base):
    """A comparison of a whole source with its head by its agent; `result` is a wire Verification as JSON."""

    __tablename__ = "verification"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(16), default=WorkState.PENDING)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[dict[str, object] | None] = mapped_column(JsonText)
