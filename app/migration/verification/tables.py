"""Rows of verifications."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import WorkState
from app.kit.database import Base, Id, JsonText, UtcDateTime


class VerificationRow(Base):
    """A comparison of a whole source with its head by its agent; `result` is a wire Verification as JSON.

    `standing_for` is the server as long as its agent has not delivered the result, and unique: a server has
    one verification at a time, whoever asks for it and in how many processes.
    """

    __tablename__ = "verification"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    standing_for: Mapped[str | None] = mapped_column(Id, unique=True)
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(16), default=WorkState.PENDING)
    automatic: Mapped[bool] = mapped_column(Boolean, default=False)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    total_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    verdict: Mapped[str | None] = mapped_column(String(16))
    result: Mapped[dict[str, object] | None] = mapped_column(JsonText)
