"""What alembic runs for every schema command: it uses the connection that `app.schema.running` hands over.

On SQLite all steps of one command are one transaction. MariaDB and MySQL commit each DDL statement at
once, so there the version is noted after every step and a command that broke half-way goes on from there.
"""

from alembic import context
from alembic.operations.ops import DropTableOp, MigrationScript, ModifyTableOps
from sqlalchemy import Connection

from app.schema.tables import metadata


def run(connection: Connection) -> None:
    """Run the steps of the present command on `connection`."""
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        user_module_prefix="columns.",
        compare_type=True,
        render_as_batch=is_sqlite,
        transactional_ddl=is_sqlite,
        transaction_per_migration=not is_sqlite,
        process_revision_directives=_drop_tables_whole,
    )
    with context.begin_transaction():
        context.run_migrations()


def _drop_tables_whole(_context: object, _revision: object, drafts: list[MigrationScript]) -> None:
    """Drop tables without their indexes first: MariaDB keeps the index that a foreign key needs."""
    for draft in drafts:
        for steps in draft.downgrade_ops_list:
            dropped = {step.table_name for step in steps.ops if isinstance(step, DropTableOp)}
            steps.ops[:] = [
                step
                for step in steps.ops
                if not (isinstance(step, ModifyTableOps) and step.table_name in dropped)
            ]


run(context.config.attributes["connection"])
