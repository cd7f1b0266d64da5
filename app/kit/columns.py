"""The declarative base and the column types that mean the same on SQLite and on MariaDB."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, LargeBinary, MetaData, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from app.kit.errors import Json

ID_LENGTH = 32
HASH_BYTES = 32
_SERVERS = ("mysql", "mariadb")

CONSTRAINT_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, so that a schema version can drop it on either engine."""


class Base(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(naming_convention=CONSTRAINT_NAMES)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware `datetime` in UTC with microseconds; a naive one raises ValueError."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """DATETIME(6) where plain DATETIME would drop the microseconds."""
        kind = mysql.DATETIME(fsp=6) if dialect.name in _SERVERS else DateTime()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Store the time in UTC, without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value.isoformat()} has no zone: use the unit's `now` or the clock")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Say that it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Hash32(TypeDecorator[bytes]):
    """A hash of exactly 32 bytes; any other length raises ValueError."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """BINARY(32), which unlike a BLOB can be indexed whole."""
        kind = mysql.BINARY(HASH_BYTES) if dialect.name in _SERVERS else LargeBinary(HASH_BYTES)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: bytes | None, _dialect: Dialect) -> bytes | None:
        """Hold the length: MariaDB would pad or cut in silence."""
        if value is not None and len(value) != HASH_BYTES:
            raise ValueError(f"a hash has {HASH_BYTES} bytes, not {len(value)}")
        return value


class Id(TypeDecorator[str]):
    """An id as `app.kit.ids` makes them; ASCII, compared byte by byte."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """One byte a character also where the database is utf8mb4."""
        if dialect.name in _SERVERS:
            kind: TypeEngine[Any] = mysql.VARCHAR(ID_LENGTH, charset="ascii", collation="ascii_bin")
        else:
            kind = String(ID_LENGTH)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Any text may be compared with an id; what is not ASCII matches none (MariaDB would refuse it)."""
        if value is None or value.isascii():
            return value
        return value.encode("ascii", "replace").decode()


class JsonText(TypeDecorator[Json]):
    """A small JSON value as text. Assign a new value to change it: changes inside are not seen."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MEDIUMTEXT (16 MiB), since TEXT ends at 64 KiB."""
        kind = mysql.MEDIUMTEXT() if dialect.name in _SERVERS else Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Json, _dialect: Dialect) -> str | None:
        """Compact, in the given order; None is NULL."""
        return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Json:
        """The value; mappings are dicts and sequences are lists."""
        if value is None:
            return None
        loaded: Json = json.loads(value)
        return loaded


class Blob(TypeDecorator[bytes]):
    """Bytes, at most 16 MiB less one."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MEDIUMBLOB, since BLOB ends at 64 KiB."""
        kind = mysql.MEDIUMBLOB() if dialect.name in _SERVERS else LargeBinary()
        return dialect.type_descriptor(kind)
