"""Brings the schema up with Alembic. The only module that loads it: the processes that run do not need it."""

from datetime import datetime

from alembic import command
from alembic.config import Config
from sqlalchemy import insert, select

from ich_node.store.database import Database, migrations_folder
from ich_node.store.tables import installation


def alembic_config(url: str) -> Config:
    """Alembic's configuration without an ini file; works from a checkout and from a wheel."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(database: Database, *, new_uid: str, now: datetime) -> None:
    """Bring the schema to the newest revision and give a new installation its UID; harmless to repeat."""
    command.upgrade(alembic_config(database.url), "head")
    with database.transaction() as connection:
        if connection.execute(select(installation.c.uid)).scalar() is None:
            connection.execute(insert(installation).values(id=1, uid=new_uid, created_at=now))
