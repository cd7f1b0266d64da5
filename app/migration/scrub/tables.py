"""Rows of scrub rounds."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Hash32, Id, JsonText, UtcDateTime


class ScrubRoundRow(Base):
    """One reading of all packs, in the order of their names up to `cursor`.

    `is_standing` is True for the round that runs and None for those that are over, and unique: there is one
    round at a time. The process `holder` reads on until `lease_until`. `findings` are the first ones, each
    [kind, object, detail, chunks].
    """

    __tablename__ = "scrub_round"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    is_standing: Mapped[bool | None] = mapped_column(Boolean, unique=True)
    cursor: Mapped[bytes] = mapped_column(Hash32)
    holder: Mapped[str] = mapped_column(String(32), default="")
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    packs: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_read: Mapped[int] = mapped_column(BigInteger, default=0)
    chunks_damaged: Mapped[int] = mapped_column(BigInteger, default=0)
    finding_count: Mapped[int] = mapped_column(Integer, default=0)
    findings: Mapped[list[list[object]]] = mapped_column(JsonText)
