"""Which replicas answer, what each one runs, and what `rollback` goes back to: state/replicas.json.

`up` and every update read it, so that what an update put in place stays when the stack is started again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors, write_atomic

NAME = "replicas.json"
LOCK = "rollout.lock"
SETS = (("app-1", "app-2"), ("app-3", "app-4"))  # compose.yaml's; one of them answers
REPLICAS = tuple(name for replicas in SETS for name in replicas)


class Release(BaseModel):
    """What a set of replicas runs, by replica. One without an image or model runs what `up` starts: its own tag, the
    champion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: tuple[str, ...] = SETS[0]
    images: dict[str, str] = {}
    models: dict[str, str] = {}


class Live(BaseModel):
    """`active` replicas answer, except those in `out`, which are being replaced. `canary` replicas get `share` of the
    requests, 0 ... 1. `kept` replicas run without requests, for `rollback`.

    `before` is what `rollback` goes back to. `unfinished` names an update that has begun and not ended; a later command
    sees it only if that update was killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: tuple[str, ...] = SETS[0]
    out: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()
    share: float = 0.0
    kept: tuple[str, ...] = ()
    images: dict[str, str] = {}
    models: dict[str, str] = {}
    before: Release | None = None
    unfinished: str = ""

    @classmethod
    def load(cls, state: Path) -> Self:
        """As the last update left it; the first set where there was none. Raises BadInput."""
        path = state / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            remedy = "restore it from a backup, or delete it: the next `up` then starts the first set with its images"
            raise BadInput(path, f"cannot be used: {error.errors()[0]['msg']}", remedy) from None

    def save(self, state: Path) -> None:
        with disk_errors(state):
            write_atomic(state / NAME, self.model_dump_json(indent=1) + "\n")

    def changed(self, **fields: Any) -> Self:
        return self.model_copy(update=fields)

    @property
    def serving(self) -> tuple[str, ...]:
        """The replicas that nginx sends requests to, without the canary's."""
        return tuple(name for name in self.active if name not in self.out)

    @property
    def other(self) -> tuple[str, ...]:
        """The set that does not answer."""
        return next(replicas for replicas in SETS if not set(replicas) & set(self.active))

    def running(self, replicas: tuple[str, ...], image: str = "", model: str = "") -> Self:
        """With this image and model in `replicas`; empty: what `up` starts."""
        images, models = _with(self.images, replicas, image), _with(self.models, replicas, model)
        return self.changed(images=images, models=models)

    def environment(self) -> dict[str, str]:
        """The variables of compose.yaml for each replica; an empty one is compose.yaml's default."""
        variables, started = {}, {*self.active, *self.canary, *self.kept}
        for name in REPLICAS:
            ending = name.replace("-", "_").upper()
            variables[f"SNN_FUSION_SCALE_{ending}"] = str(int(name in started))
            variables[f"SNN_FUSION_IMAGE_{ending}"] = self.images.get(name, "")
            variables[f"SNN_FUSION_MODEL_{ending}"] = self.models.get(name, "")
        return variables


def _with(values: Mapping[str, str], replicas: tuple[str, ...], value: str) -> dict[str, str]:
    others = {name: kept for name, kept in values.items() if name not in replicas}
    return {**others, **dict.fromkeys(replicas, value)} if value else others


@contextlib.contextmanager
def exclusive(state: Path, what: str) -> Iterator[None]:
    """One update at a time. Raises BadInput naming the one that is running; a killed one holds nothing."""
    with disk_errors(state):
        state.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(state / LOCK), state / f"{LOCK}.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        running: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            running = json.loads(holder.read_text())
        who = f"`{running.get('what', 'an update')}` is running (process {running.get('pid', 'unknown')})"
        raise BadInput(state, who, "wait until it has ended: `snn-fusion deploy history`") from None
    try:
        with disk_errors(state):
            write_atomic(holder, json.dumps({"pid": os.getpid(), "what": what}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
