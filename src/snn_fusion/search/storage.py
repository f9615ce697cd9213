"""The storage that all trials share: a SQLite file in the workspace, or the database that the user names."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import Workspace, disk_errors

VARIABLE = "SNN_FUSION_SEARCH_STORAGE"
FORMS = "sqlite:////absolute/path.db or postgresql://user:password@host/database"
PATIENCE_S = 60  # for another process that is writing to the SQLite file
TRIES = 5  # at making the tables, which others may be making at the same time


class SearchStopped(SnnFusionError):
    """The search cannot go on now; what has been done is kept, and running it again goes on from there."""


def database(ws: Workspace) -> Path:
    return ws.path("search", "study.db")


def is_shared(ws: Workspace) -> bool:
    """Whether others than this workspace's processes may be at work in the storage."""
    return storage_url(ws) != _own(ws)


def storage_url(ws: Workspace) -> URL:
    """$SNN_FUSION_SEARCH_STORAGE, else the workspace's SQLite file.

    Raises BadInput, with no part of a value that cannot be read: it may hold a password.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return _own(ws)
    try:
        url = make_url(named)
    except (ArgumentError, ValueError):
        url = None
    # With a second @, what is taken for host and database is a part of the password.
    if url is None or (url.get_backend_name() != "sqlite" and named.count("@") > 1):
        remedy = f"write {FORMS}; of a password, percent-encode @ : / ? #"
        raise BadInput(VARIABLE, "cannot be read as a URL", remedy)
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise BadInput(VARIABLE, f"names a storage of kind {url.get_backend_name()!r}", f"write {FORMS}")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadInput(VARIABLE, "names no SQLite file", f"write {FORMS}")
    return url


@contextlib.contextmanager
def storage(ws: Workspace) -> Iterator[RDBStorage]:
    """The open storage, made on first use; errors of the database within the block are told without its password.

    Raises BadInput if it cannot be opened, SearchStopped if it fails later.
    """
    _quiet()
    url = storage_url(ws)
    opened = _open(url, ws)
    try:
        yield opened
    except (OptunaError, SQLAlchemyError) as error:
        if isinstance(error, optuna.TrialPruned):
            raise
        raise SearchStopped(f"{_shown(url)}: {reason(error, url)}") from None
    finally:
        opened.engine.dispose()


def _own(ws: Workspace) -> URL:
    return URL.create("sqlite", database=str(database(ws)))


def _open(url: URL, ws: Workspace) -> RDBStorage:
    if url.get_backend_name() == "sqlite":
        with disk_errors(ws.root):
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    for tries_left in reversed(range(TRIES)):
        try:
            return _connect(url)
        except ImportError as error:
            driver = url.get_dialect().driver
            problem = f"the driver {driver!r} of {url.drivername}:// is not installed ({error.__cause__ or error})"
            remedy = "`pip install 'psycopg[binary]'`, or name another driver, as in postgresql+psycopg2://"
            raise BadInput(VARIABLE, problem, remedy) from None
        except NoSuchModuleError:
            problem = f"there is no driver {url.drivername!r}"
            raise BadInput(VARIABLE, problem, "write postgresql://, or postgresql+psycopg2://") from None
        except (SQLAlchemyError, OptunaError, RuntimeError) as error:
            if not tries_left:
                where = VARIABLE if url != _own(ws) else database(ws)
                problem = f"{_shown(url)} cannot be used: {reason(error, url)}"
                raise BadInput(where, problem, "see docs/search.md") from None
        time.sleep(0.2)
    raise AssertionError("not reached")


def _connect(url: URL) -> RDBStorage:
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # Optuna formats it
    is_file = url.get_backend_name() == "sqlite"
    settings: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_S}} if is_file else {"pool_pre_ping": True}
    opened = RDBStorage(text, engine_kwargs=settings)
    if is_file:
        _write_one_at_a_time(opened)
    return opened


def _write_one_at_a_time(opened: RDBStorage) -> None:
    """Each transaction takes SQLite's lock as it begins: two that read first and write then could not both go on.

    https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-sqlite-transactional-ddl
    """

    @event.listens_for(opened.engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(opened.engine, "begin")
    def _begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    opened.engine.dispose()  # connections from before know nothing of this


def reason(error: BaseException, url: URL) -> str:
    """What went wrong, in the database's words, without the password."""
    if isinstance(error, StorageInternalError) and error.__cause__:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
    secrets = [url.password, *(value for key, value in url.query.items() if "password" in key)]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _shown(url: URL) -> str:
    """Kind, host and database."""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _quiet() -> None:
    """Leave out what Optuna tells of each trial; errors are raised."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna\.")
