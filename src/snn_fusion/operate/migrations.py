"""Whether a database has the schema that the installed release reads and writes (Alembic's revisions)."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput

SCRIPTS = {"mlflow": "store/db_migrations", "airflow": "migrations"}  # folder of a package's migrations
UPGRADE = {"mlflow": "mlflow db upgrade URI", "airflow": "airflow db migrate"}


def revisions(package: str) -> dict[str, set[str]]:
    """Each revision of an installed package's migrations, and those that it follows.

    Read from the files' text: to import them would import the package, which takes seconds and sets up its logging.
    """
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / SCRIPTS[package] / "versions"
    return dict(_revision(path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py")


def _revision(path: Path) -> tuple[str, set[str]]:
    values: dict[str, Any] = {}
    for statement in ast.parse(path.read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("revision", "down_revision"):
                values[target.id] = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    follows = values["down_revision"] or ()
    return values["revision"], {follows} if isinstance(follows, str) else set(follows)


def heads(package: str) -> set[str]:
    """The revisions of a database that is up to date."""
    every = revisions(package)
    return set(every) - set().union(*every.values())


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
            there = {str(row[0]) for row in rows}
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0][:200]
        raise BadInput(where, f"cannot be read: {reason}", f"start the database, or {UPGRADE[package]}") from None
    finally:
        engine.dispose()
    wanted = heads(package)
    if there == wanted:
        return f"revision {', '.join(sorted(there))}"
    seen = ", ".join(sorted(there)) or "no revision"
    if there - set(revisions(package)):
        raise BadInput(where, f"is of a newer {package}: {seen}", f"install the {package} that last wrote it")
    raise BadInput(where, f"is at {seen}, this {package} needs {', '.join(sorted(wanted))}", UPGRADE[package])
