"""Schema migrations, run from code: an installed wheel can migrate from any folder."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from concepts.errors import SchemaError
from registry.store import guards
from registry.store.db import VERSION_TABLE, connect, database_url, default_home, transaction
from registry.store.models import Base

Step = Callable[[Config, str], None]


def config() -> Config:
    """Return Alembic's configuration, without an ini file."""
    settings = Config()
    settings.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    return settings


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate to a revision, in one transaction under the write lock.

    The newest one gets its triggers again where they are missing, disabled or changed: at head no
    migration runs that would make them.

    Raises:
        SchemaError: If the database holds a revision that this program does not know.
    """
    with transaction(engine, write=True) as connection:
        _step(connection, command.upgrade, revision)
        if revision == "head" and any(guards.differences(connection, newest_guards())):
            guards.drop(connection)
            guards.create(connection, newest_guards())


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate back to an earlier revision, "base" for an empty database."""
    with transaction(engine, write=True) as connection:
        _step(connection, command.downgrade, revision)


def differences(engine: Engine) -> list[object]:
    """Return how the database differs from the models; empty when they agree."""
    with transaction(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        return list(compare_metadata(context, Base.metadata))


def default_engine() -> Engine:
    """Return the engine of the default registry, for Alembic's own command line."""
    home = default_home()
    Path(home).mkdir(parents=True, exist_ok=True)
    return connect(database_url(home))


def create_schema(connection: Connection) -> None:
    """Make the newest schema within a transaction that is open already."""
    _step(connection, command.upgrade, "head")


def newest_guards() -> tuple[guards.Guard, ...]:
    """Return the rules that the newest schema's triggers stand for."""
    script = ScriptDirectory.from_config(config()).get_revision("head")
    newest: tuple[guards.Guard, ...] = script.module.GUARDS
    return newest


def _step(connection: Connection, step: Step, revision: str) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    try:
        step(settings, revision)
    except CommandError as error:
        raise SchemaError(
            f"The registry cannot be migrated: {error}. It may have been made by a newer "
            "release of the program."
        ) from error
