"""Whether a database has the schema that the installed release reads and writes (Alembic's revisions)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from snn_fusion.errors import BadInput

SCRIPTS = {"mlflow": "store/db_migrations", "airflow": "migrations"}  # folder of a package's migrations
UPGRADE = {"mlflow": "mlflow db upgrade URI", "airflow": "airflow db migrate"}


if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


def migrations(package: str) -> ScriptDirectory:
    """The migrations that come with an installed package."""
    from alembic.script import ScriptDirectory

    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return ScriptDirectory(str(Path(next(iter(spec.submodule_search_locations))) / SCRIPTS[package]))


def check(package: str, url: str) -> str:
    """Compare the database at an SQLAlchemy `url` with `package`'s migrations.

    Raises BadInput if it cannot be opened, was never migrated, or is of an older or a newer release.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    where = make_url(url).render_as_string(hide_password=True)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT version_num FROM alembic_version"))
            revisions = {str(row[0]) for row in rows}
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0][:200]
        raise BadInput(where, f"cannot be read: {reason}", f"start the database, or {UPGRADE[package]}") from None
    finally:
        engine.dispose()
    known = migrations(package)
    wanted = set(known.get_heads())
    if revisions == wanted:
        return f"revision {', '.join(sorted(revisions))}"
    ours = {script.revision for script in known.walk_revisions()}
    seen = ", ".join(sorted(revisions)) or "no revision"
    if revisions - ours:
        raise BadInput(where, f"is of a newer {package}: {seen}", f"install the {package} that last wrote it")
    raise BadInput(where, f"is at {seen}, this {package} needs {', '.join(sorted(wanted))}", UPGRADE[package])
