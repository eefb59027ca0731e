"""Run migrations on the connection of `registry.store.schema`, or on the default registry's."""

from alembic import context
from sqlalchemy import Connection

from registry.store.db import VERSION_TABLE, transaction
from registry.store.models import Base
from registry.store.schema import default_engine


def run(connection: Connection) -> None:
    # Batch mode copies a table and drops its triggers: a revision that uses it must call
    # `registry.store.guards.create` again, since `alembic check` does not see triggers.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        compare_type=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    raise SystemExit("Offline migrations are not supported: connect to a database.")
if connection is not None:
    run(connection)
else:
    with transaction(default_engine(), write=True) as own:
        run(own)
