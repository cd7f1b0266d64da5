"""How the schema of a database and this program stand to each other."""

from dataclasses import dataclass

from prometheus_client import Gauge

from app.kit.errors import Conflict
from app.kit.logging import get_logger

NEWER = Gauge(
    "go2cloud_schema_newer",
    "1 where the schema is of a later program than this one, which runs on it; as it was at the start.",
)

_log = get_logger("go2cloud.schema")


class SchemaOutdated(Conflict):
    """The schema is older than this program needs."""

    code = "SCHEMA_OUTDATED"
    title = "Schema outdated"


class SchemaTooNew(Conflict):
    """The schema is of a later program, and this one does not run on it."""

    code = "SCHEMA_TOO_NEW"
    title = "Schema too new"


@dataclass(frozen=True, slots=True)
class Standing:
    """`present` is the version of the schema, None for an empty database; `wanted` the newest that we know.

    `is_known` says whether we know `present`; `minimum` is the newest version that a program has to know to
    run on the schema, None where the schema does not say.
    """

    present: str | None
    wanted: str
    is_known: bool
    minimum: str | None

    @property
    def is_newer(self) -> bool:
        """Whether the schema is of a later program, or of none that we know."""
        return self.present is not None and not self.is_known

    @property
    def is_outdated(self) -> bool:
        """Whether the schema has to be upgraded for this program."""
        return not self.is_newer and self.present != self.wanted

    def require_not_too_new(self) -> None:
        """Raises SchemaTooNew where this program does not run on the schema. Versions sort as text.

        A known version with a minimum that we do not know is half contracted: the upgrade broke off.
        """
        if not self.is_newer if self.minimum is None else self.minimum <= self.wanted:
            return
        known = f"needs a program that knows {self.minimum}" if self.minimum else "is none of go2cloud's"
        remedy = (
            "start the newer go2cloud that made it, or take the schema back with that one: "
            f"go2cloud db downgrade {self.wanted}"
        )
        if self.is_known:
            known = f"a newer go2cloud began to change, so that it {known}"
            remedy = "let that newer go2cloud end it: go2cloud db upgrade; or restore a backup"
        raise SchemaTooNew(
            f"the database has schema version {self.present}, which {known}; this one knows {self.wanted}",
            remedy=remedy,
        )

    def require_usable(self) -> None:
        """Raises SchemaOutdated or SchemaTooNew unless this program runs on the schema."""
        self.require_not_too_new()
        if self.is_outdated:
            raise SchemaOutdated(
                f"the database has schema version {self.present or 'none'}, this program needs {self.wanted}",
                remedy="run: go2cloud db upgrade",
            )

    def tell(self) -> None:
        """Warn of a newer schema in the log and in the metrics."""
        NEWER.set(self.is_newer)
        if self.is_newer:
            _log.warning("schema.newer", version=self.present, known=self.wanted, minimum=self.minimum)
