"""Rows of launch settings, user-data, and of tests with their evidence.

Evidence lies in the database, since it is small (a screenshot of a text console has 10 KB, the compressed
end of a serial log some 20 KB), must be readable by role api although role agent made it, and stands or
falls with the row of its test. The store holds disks, and nothing that no checkpoint leads to.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.contract.words import TestState
from app.kit.database import Base, Blob, Id, JsonText, UtcDateTime
from app.kit.errors import Json


class LaunchSettingsRow(Base):
    """Launch settings of a server: `settings` is a LaunchSettingsUpdate of the contract as JSON."""

    __tablename__ = "launch_settings"

    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), primary_key=True)
    settings: Mapped[dict[str, Json]] = mapped_column(JsonText)
    version: Mapped[int] = mapped_column(Integer)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UserDataRow(Base):
    """User-data for the cloud-init of a server's machines, by its SHA-256 (hexadecimal).

    By itself, so that nobody who may read settings, tests or cutovers reads the secrets in it. What settings
    name no more goes away when they are set while no job of the server stands: one could have settled on it.
    """

    __tablename__ = "launch_user_data"

    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(Blob)


class TestRow(Base):
    """A test; its id is that of its machine.

    `effect` is the key of the job's step that made it, so that a repetition finds it. `came_from` is the
    server's lifecycle state before it. `machine` is a LaunchMachine of the contract as JSON, `proof` a
    BootProof, and `passed` its verdict. `node`: where its volumes and machine are; None before there are any.
    `warned_at`: when it was said that its time will be over. `ended_at`: when it was noticed that the machine
    had ended by itself. `ended_reason`: why it ended, or was ended by the service itself.
    """

    __test__ = False
    __tablename__ = "test_boot"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    server_id: Mapped[str] = mapped_column(Id, ForeignKey("server.id"), index=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("job.id"), index=True)
    effect: Mapped[str] = mapped_column(String(200), unique=True)
    checkpoint_id: Mapped[str] = mapped_column(Id)
    checkpoint_number: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str] = mapped_column(String(16))
    source_time: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default=TestState.PREPARING)
    came_from: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(32))
    node: Mapped[str | None] = mapped_column(String(100))
    machine: Mapped[dict[str, Json]] = mapped_column(JsonText)
    forwards: Mapped[list[Json]] = mapped_column(JsonText)
    requested_by: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    launched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    terminated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    warned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_reason: Mapped[str | None] = mapped_column(Text)
    passed: Mapped[bool | None] = mapped_column(Boolean)
    proof: Mapped[dict[str, Json] | None] = mapped_column(JsonText)


class TestEvidenceRow(Base):
    """What was seen of a test's machine: a PNG, or the compressed (zlib) end of its serial log."""

    __test__ = False
    __tablename__ = "test_evidence"

    test_id: Mapped[str] = mapped_column(Id, ForeignKey("test_boot.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    content: Mapped[bytes] = mapped_column(Blob)
