"""All tables of all features, of the job engine and of the schema itself, as the code declares them."""

import importlib
import importlib.util
import pkgutil

from sqlalchemy import MetaData

import app.migration
import app.schema.compat
import app.work.tables
from app.kit.columns import Base


def metadata() -> MetaData:
    """The metadata with the tables of every feature loaded."""
    for feature in pkgutil.iter_modules(app.migration.__path__, "app.migration."):
        name = f"{feature.name}.tables"
        if feature.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    return Base.metadata
