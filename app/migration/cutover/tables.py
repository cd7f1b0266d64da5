"""Rows of cutovers, and what was seen of their machines.

Evidence lies in the database for the reasons given for tests (`app.migration.launch.tables`).
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.cutoverwords import CutoverState
from app.kit.database import Base, Blob, Id, JsonText, UtcDateTime
from app.kit.errors import Json


class CutoverRow(Base):
    """A cutover; its id is that of its machine.

    `effect` is the key of the job's step that made it, so that a repetition finds it. `base_checkpoint_id` is
    written to the target while the source runs, `checkpoint_id` is the final one. `passed_over` are the codes
    of doubts that the reason `override` passes over. `source_active`: nobody stopped the source's services;
    None before that is known. `phases` is a list of the contract's CutoverTime, `ledger` of its LedgerEntry,
    `machine` a LaunchMachine, `proof` a BootProof and `passed` its verdict, all as JSON. `node`: where its
    volumes and machine are; None before there are any. `source_gone`: why an operator says that the source
    will never be heard again; it was not given its services back where the cutover is over.
    """

    __tablename__ = "cutover"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), index=True)
    effect: Mapped[str] = mapped_column(String(200), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=CutoverState.PREPARING)
    target: Mapped[str] = mapped_column(String(64))
    node: Mapped[str | None] = mapped_column(String(100))
    verification_id: Mapped[str | None] = mapped_column(Id)
    base_checkpoint_id: Mapped[str | None] = mapped_column(Id)
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    checkpoint_number: Mapped[int | None] = mapped_column(BigInteger)
    machine: Mapped[dict[str, Json]] = mapped_column(JsonText)
    forwards: Mapped[list[Json]] = mapped_column(JsonText)
    allow_active_source: Mapped[bool] = mapped_column(Boolean, default=False)
    source_active: Mapped[bool | None] = mapped_column(Boolean)
    source_gone: Mapped[str | None] = mapped_column(String(1000))
    override: Mapped[str | None] = mapped_column(String(1000))
    passed_over: Mapped[list[Json]] = mapped_column(JsonText)
    phases: Mapped[list[Json]] = mapped_column(JsonText)
    requested_by: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    launched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    passed: Mapped[bool | None] = mapped_column(Boolean)
    proof: Mapped[dict[str, Json] | None] = mapped_column(JsonText)
    ledger: Mapped[list[Json]] = mapped_column(JsonText)


class CutoverEvidenceRow(Base):
    """What was seen of a cutover's machine: a PNG, or the compressed (zlib) end of its serial log."""

    __tablename__ = "cutover_evidence"

    cutover_id: Mapped[str] = mapped_column(Id, ForeignKey("cutover.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    content: Mapped[bytes] = mapped_column(Blob)
