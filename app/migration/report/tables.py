"""Rows of the key that reports are signed with."""

from datetime import datetime
from typing import Final

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.database import Base, Id, UtcDateTime

SIGNING: Final = "signing"


class ReportKeyRow(Base):
    """The installation's own key, `private` as PEM: one row, named SIGNING, which never changes."""

    __tablename__ = "report_key"

    name: Mapped[str] = mapped_column(Id, primary_key=True)
    private: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
