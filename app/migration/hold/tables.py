"""Rows of holds."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import HoldServices
from app.kit.database import Base, Id, JsonText, UtcDateTime
from app.kit.errors import Json


class HoldRow(Base):
    """A hold of a server for a cutover: what is `wanted` of it, and what its agent `reached`.

    `standing_for` is the server as long as its services are not given back for good, and unique: a server has
    one hold at a time. `revision` numbers the orders of a server, `reported_revision` is that of the order
    which the newest report follows. `proof` is the secret of the agent that holds; `hooks` is a list of wire
    HookRun as JSON. `quiesced_at`, `final_at`, `held_at` and `released_at`: when the phase was first
    reported; `wanted_at`: since when `wanted` is wanted; `renewed_at`: when the cutover last said that it
    goes on, None where it never does.
    """

    __tablename__ = "source_hold"
    __table_args__ = (UniqueConstraint("server_id", "cutover_id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"))
    cutover_id: Mapped[str] = mapped_column(Id)
    standing_for: Mapped[str | None] = mapped_column(Id, unique=True)
    wanted: Mapped[str] = mapped_column(String(16))
    reached: Mapped[str | None] = mapped_column(String(16))
    services: Mapped[str] = mapped_column(String(16), default=HoldServices.UNTOUCHED)
    cause: Mapped[str | None] = mapped_column(String(16))
    seconds: Mapped[int] = mapped_column(Integer)
    revision: Mapped[int] = mapped_column(BigInteger)
    reported_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    code: Mapped[str] = mapped_column(String(64), default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    frozen_ms: Mapped[int | None] = mapped_column(Integer)
    proof: Mapped[str] = mapped_column(String(64), default="")
    hooks: Mapped[list[Json]] = mapped_column(JsonText)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    wanted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    renewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    quiesced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    final_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
