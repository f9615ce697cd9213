"""Which replicas answer, what each one runs, and what `rollback` goes back to: state/replicas.json.

`up` and every update read it, so that what an update put in place stays there when the stack is started again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from snn_fusion.deploy.engine import Stack
from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors, write_atomic

NAME = "replicas.json"
LOCK = "rollout.lock"
SETS = (("app-1", "app-2"), ("app-3", "app-4"))  # compose.yaml's; one of them answers
REPLICAS = tuple(name for one in SETS for name in one)


class Runs(BaseModel):
    """What a set runs. An `image` or `model` that is not there is what `up` starts: its own tag, the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: tuple[str, ...] = SETS[0]
    images: dict[str, str] = {}
    models: dict[str, str] = {}


class Live(BaseModel):
    """`active` replicas answer; one in `out` is being replaced; `canary` gets `share` of the requests, 0 ... 1; `kept`
    run without requests, for `rollback`. `before` is what `rollback` goes back to; `unfinished` names the update that
    has begun and not ended, which is found there only after it was killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: tuple[str, ...] = SETS[0]
    out: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()
    share: float = 0.0
    kept: tuple[str, ...] = ()
    images: dict[str, str] = {}
    models: dict[str, str] = {}
    before: Runs | None = None
    unfinished: str = ""

    @classmethod
    def load(cls, state: Path) -> Self:
        """As the last update left it; both replicas of the first set where there was none. Raises BadInput."""
        path = state / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            remedy = (
                "restore it from a backup, or delete it: the next `up` then starts the first set with its own images"
            )
            raise BadInput(path, f"cannot be used: {error.errors()[0]['msg']}", remedy) from None

    def save(self, state: Path) -> None:
        with disk_errors(state):
            write_atomic(state / NAME, self.model_dump_json(indent=1) + "\n")

    def changed(self, **fields: Any) -> Self:
        return self.model_copy(update=fields)

    @property
    def serving(self) -> tuple[str, ...]:
        """The replicas that nginx sends requests to, but for the canary's."""
        return tuple(name for name in self.active if name not in self.out)

    @property
    def running(self) -> set[str]:
        return {*self.active, *self.canary, *self.kept}

    @property
    def other(self) -> tuple[str, ...]:
        """The set that does not answer."""
        return next(one for one in SETS if not set(one) & set(self.active))

    def running_in(self, replicas: tuple[str, ...], image: str = "", model: str = "") -> Self:
        """With this image and model in `replicas`; empty: what `up` starts."""
        return self.changed(images=_with(self.images, replicas, image), models=_with(self.models, replicas, model))

    def of(self, replicas: tuple[str, ...]) -> Runs:
        """What these replicas run."""
        images, models = ({n: of[n] for n in replicas if n in of} for of in (self.images, self.models))
        return Runs(replicas=replicas, images=images, models=models)

    def environment(self) -> dict[str, str]:
        """What compose.yaml asks for of each replica."""
        found = {}
        for name in REPLICAS:
            ending = name.replace("-", "_").upper()
            found[f"SNN_FUSION_SCALE_{ending}"] = str(int(name in self.running))
            if name in self.images:
                found[f"SNN_FUSION_IMAGE_{ending}"] = self.images[name]
            if name in self.models:
                found[f"SNN_FUSION_MODEL_{ending}"] = self.models[name]
        return found

    def applied(self, stack: Stack) -> Stack:
        """The stack with these replicas."""
        return replace(stack, environment={**stack.environment, **self.environment()})


def _with(of: Mapping[str, str], replicas: tuple[str, ...], value: str) -> dict[str, str]:
    kept = {name: one for name, one in of.items() if name not in replicas}
    return {**kept, **dict.fromkeys(replicas, value)} if value else kept


@contextlib.contextmanager
def alone(state: Path, what: str) -> Iterator[None]:
    """One update at a time. Raises BadInput naming the one that is at work; a killed one lets go by itself."""
    with disk_errors(state):
        state.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(state / LOCK), state / f"{LOCK}.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        at_work: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            at_work = json.loads(holder.read_text())
        who = f"`{at_work.get('what', 'an update')}` is at work (process {at_work.get('pid', 'unknown')})"
        raise BadInput(state, who, "wait until it has ended: `snn-fusion deploy history`") from None
    try:
        with disk_errors(state):
            write_atomic(holder, json.dumps({"pid": os.getpid(), "what": what}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
