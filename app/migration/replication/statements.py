"""SQL that differs between the two databases, in one place."""

from sqlalchemy import Insert, insert
from sqlalchemy.orm import DeclarativeBase

from app.kit.database import UnitOfWork


def insert_ignoring(uow: UnitOfWork, table: type[DeclarativeBase]) -> Insert:
    """An insert that leaves rows alone whose key exists already."""
    sqlite = uow.session.get_bind().dialect.name == "sqlite"
    return insert(table).prefix_with("OR IGNORE" if sqlite else "IGNORE")
