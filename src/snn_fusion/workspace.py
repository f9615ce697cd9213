"""The one folder that a run writes to, and how a stage writes there: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from snn_fusion.errors import BadInput, SnnFusionError

PACKAGE = Path(__file__).resolve().parent
STAMP = "stage.json"


def project_root() -> Path:
    """The checkout: the current folder if it has a params.yaml, else the one this package is installed from."""
    here = Path.cwd()
    return here if (here / "params.yaml").exists() else PACKAGE.parents[1]


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest one above it that is there: on its disk it will be made."""
    return next(place for place in (path, *path.parents) if place.exists())


def digest(*parts: object) -> str:
    """SHA-256 over parts: bytes as they are, pydantic models and plain values as canonical JSON."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, BaseModel):
            part = part.model_dump(mode="json")
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 over these files of a folder."""
    return digest([[name, file_digest(folder / name)] for name in names])


def check_seal(folder: Path, names: Sequence[str], kind: str, maker: str, remedy: str) -> str:
    """The digest of a folder's files, which its file `digest` must name too.

    Raises BadInput naming the file that is missing or changed. `maker` is the command that writes this kind of folder.
    """
    for name in (*names, "digest"):
        if not (folder / name).is_file():
            raise BadInput(folder / name, f"missing: this is not a whole {kind}", f"name a folder that `{maker}` wrote")
    found, said = files_digest(folder, names), (folder / "digest").read_text().strip()
    if found != said:
        raise BadInput(folder / "digest", f"says {said[:12]}, but the files give {found[:12]}", remedy)
    return found


def tree_digest(folder: Path) -> str:
    """SHA-256 over the relative paths and contents of every file below `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return digest([[p.relative_to(folder).as_posix(), file_digest(p)] for p in files])


def listing(*places: Path) -> list[tuple[str, int, int]]:
    """Every file of these folders and files: path, size and time of its last change, which no program can set."""
    found = (file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place]))
    known = [(file, file.stat()) for file in found if file.is_file()]
    return [(str(file), stat.st_size, stat.st_ctime_ns) for file, stat in known]


def code_digest(*parts: str) -> str:
    """SHA-256 of the source of these subpackages or files: a changed line makes cached results stale."""
    places = {part: PACKAGE / part for part in parts}
    files = {part: sorted(place.rglob("*.py")) if place.is_dir() else [place] for part, place in places.items()}
    return digest([[part, [file_digest(file) for file in found]] for part, found in files.items()])


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader, or a kill at any moment, sees all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do, also where a library wrapped it."""
    try:
        yield
    except SnnFusionError:
        raise
    except Exception as error:
        for one in _causes(error):
            known = isinstance(one, OSError) and one.errno in DISK_ERRORS
            if said := one.strerror if known else disk_error_in(str(one)):  # type: ignore[attr-defined]
                name = getattr(one, "filename", None) or where
                raise BadInput(name, f"cannot write: {said}", DISK_REMEDY) from error
        raise


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
DISK_REMEDY = "free some space or point SNN_FUSION_HOME at another disk; earlier results are untouched"


def disk_error_in(text: str) -> str | None:
    """What a library says of a full or read-only disk: the words of the system and of SQLite."""
    known = "No space left on device|Disk quota exceeded|Read-only file system"
    found = re.search(f"{known}|database or disk is full|attempt to write a readonly database", text)
    return found[0] if found else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def remove_tree(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@dataclass(frozen=True)
class Workspace:
    """`root` holds one folder a stage (see docs/workspace.md) and the stores of MLflow, Airflow and DVC."""

    root: Path

    @classmethod
    def default(cls) -> Workspace:
        """$SNN_FUSION_HOME, else `workspace/` in the checkout. Raises BadInput if that cannot be a folder."""
        home = os.environ.get("SNN_FUSION_HOME")
        root = Path(home).expanduser().resolve() if home else project_root() / "workspace"
        there = nearest_existing(root)
        if not there.is_dir():
            raise BadInput("SNN_FUSION_HOME" if home else root, f"{there} is not a folder", "name another one")
        return cls(root)

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def stamp(self, stage: str) -> dict[str, Any]:
        """What a finished stage recorded of itself: `inputs`, `digest`, `result`.

        Raises BadInput if the stage has not been run.
        """
        path = self.path(stage, STAMP)
        try:
            stamp: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            raise BadInput(path, "this stage has not been run", MADE_BY.get(stage.partition("/")[0], "")) from None
        except ValueError as error:
            raise BadInput(path, f"not JSON: {error}", f"remove {path.parent} and run the stage again") from None
        return stamp

    def digest(self, stage: str, *files: str) -> str:
        """Digest of a finished stage's outputs, or of these `files` among them alone."""
        stamp = self.stamp(stage)
        return digest([file_digest(self.path(stage, name)) for name in files]) if files else str(stamp["digest"])

    @contextlib.contextmanager
    def lock(self, purpose: str, name: str = ".lock") -> Iterator[None]:
        """One writer a workspace. A second one waits, saying for whom; a killed holder lets go by itself.

        Not to be taken twice by one process. Another `name` is another lock, to be taken before this one.
        """
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        holder = self.path(f"{name}.json")
        lock = FileLock(self.path(name))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with contextlib.suppress(OSError, ValueError):
                at_work = json.loads(holder.read_text())
                print_waiting(f"waiting: process {at_work['pid']} is at `{at_work['purpose']}` in {self.root}")
            lock.acquire()
        try:
            with disk_errors(self.root):
                write_atomic(holder, json.dumps({"pid": os.getpid(), "purpose": purpose}))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def settle(self, stage: str) -> None:
        """Put the stage's folder back if a kill came between the two renames of `build`; needs the lock."""
        final, old = self.path(stage), self.path(".old", stage)
        if old.exists() and not final.exists():
            old.rename(final)

    def finished(self, stage: str, inputs: Mapping[str, str]) -> dict[str, Any] | None:
        """The result of a stage that was run for these inputs, if its folder is in place; without waiting."""
        if not self.path(stage, STAMP).exists():
            return None
        stamp = self.stamp(stage)
        return {**stamp["result"], "up_to_date": True} if stamp["inputs"] == dict(inputs) else None

    def build(
        self,
        stage: str,
        inputs: Mapping[str, str] | Callable[[], Mapping[str, str]],
        work: Callable[[Path], dict[str, Any]],
        lock: str = ".lock",
    ) -> dict[str, Any]:
        """Run a stage once for these inputs and put its folder in place whole.

        `work(out)` writes into an empty folder and returns the stage's result (plain JSON values). Nothing is done
        when the folder in place was made from the same inputs, so a stage may be run twice, also at once; a kill at
        any moment leaves the earlier folder. `code_digest` belongs into `inputs`; where it is a function, it is called
        when the lock is held, so that nothing changes between inputs and work. Stages with a `lock` of their own may
        be at work side by side.
        """
        with self.lock(stage, lock), disk_errors(self.path(stage)):
            final, building, old = self.path(stage), self.path(".building", stage), self.path(".old", stage)
            self.settle(stage)
            made_from = dict(inputs() if callable(inputs) else inputs)
            if (done := self.finished(stage, made_from)) is not None:
                return done
            remove_tree(building)
            remove_tree(old)
            building.mkdir(parents=True)
            old.parent.mkdir(parents=True, exist_ok=True)
            try:
                result = work(building)
                stamp = {"inputs": made_from, "digest": tree_digest(building), "result": result}
                write_atomic(building / STAMP, json.dumps(stamp, indent=1))
            except BaseException:
                remove_tree(building)
                raise
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                final.rename(old)
            building.rename(final)
            remove_tree(old)
            return {**result, "up_to_date": False}


def print_waiting(text: str) -> None:
    from snn_fusion import log_lines  # and with it Rich, which not every process needs

    log_lines.console().print(text, style="yellow", highlight=False)


MADE_BY = {
    "recordings": "run `snn-fusion import`",
    "validated": "run `snn-fusion validate`",
    "encoded": "run `snn-fusion encode`",
    "trained": "run `snn-fusion train`",
    "evaluated": "run `snn-fusion evaluate`",
    "left_out": "run `snn-fusion speakers` (with --skip the condition is left out)",
    "registered": "run `snn-fusion register`",
    "tuned": "run `snn-fusion tune`",
    "compiled": "run `snn-fusion compile`",
    "measured": "run `snn-fusion benchmark`",
    "compared": "run `snn-fusion compare`",
    "packaged": "run `snn-fusion package`",
}


def git_commit(root: Path | None = None) -> str:
    """The checkout's commit, with `-dirty` if tracked files differ from it; `unknown` outside git."""
    root = root or project_root()
    done = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"
