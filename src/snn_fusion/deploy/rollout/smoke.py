"""Recordings with known answers, asked of old and new replicas.

A network of the same digest must give the same answers to the bit; another one must not know the answers worse.
Each recording is sent as a batch of one, which no cache answers (docs/serving-operation.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_fusion.benchmark.statistics import mcnemar
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.errors import SnnFusionError

AGREE = 0.9  # share of recordings to which another network has to give the same label
KNOWN = 0.5  # share of real recordings that the old set has to know; otherwise a comparison says nothing
SIGNIFICANCE = 0.05  # of McNemar's test
ATTEMPTS = 10  # for a recording for which there was no time for all steps
PAUSE_S = 1.0
PREDICT = "/v1/predict/batch"


class Call(NamedTuple):
    """A request to a replica, without its token."""

    method: str
    path: str
    body: str | None = None


class Reply(NamedTuple):
    """`status` 0: no answer, and `text` names why."""

    status: int
    text: str


Ask = Callable[[Sequence[Call]], list[Reply]]


@dataclass(frozen=True)
class Recordings:
    """`labels` of `bodies`. `real`: recorded; otherwise made up, so that the labels say little."""

    labels: tuple[str, ...]
    bodies: tuple[Any, ...]
    real: bool


@dataclass(frozen=True)
class Answer:
    """The answer to one recording; `model` is digest and arithmetic."""

    label: str
    scores: dict[str, float]
    model: tuple[str, str]


def made_up(ask: Ask) -> Recordings:
    """The service's own examples, for where no real recordings are available. Raises SnnFusionError."""
    (listing,) = ask([Call("GET", "/v1/examples")])
    labels = _json(listing, "/v1/examples")["labels"]
    replies = ask([Call("GET", f"/v1/examples/{label}?seed=0") for label in labels])
    return Recordings(tuple(labels), tuple(_json(reply, "/v1/examples") for reply in replies), real=False)


def answers(ask: Ask, recordings: Recordings, pause: Callable[[float], None] = time.sleep) -> list[Answer]:
    """Of one replica, in all steps. Raises SnnFusionError naming the first recording that has no such answer."""
    known: dict[int, Answer] = {}
    missing = list(range(len(recordings.bodies)))
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(PAUSE_S)
        replies = ask([Call("POST", PREDICT, json.dumps({"recordings": [recordings.bodies[i]]})) for i in missing])
        for i, reply in zip(missing, replies, strict=True):
            if not _lacked_time(reply):
                known[i] = _answer(reply, i)
        missing = [i for i in missing if i not in known]
        if not missing:
            return [known[i] for i in range(len(recordings.bodies))]
    raise SnnFusionError(f"recording {missing[0] + 1}: no time for all steps, {ATTEMPTS} times")


def compare(recordings: Recordings, old: Sequence[Answer], new: Sequence[Answer]) -> Finding:
    """The finding of the smoke test."""
    right_old = [answer.label == label for label, answer in zip(recordings.labels, old, strict=True)]
    right_new = [answer.label == label for label, answer in zip(recordings.labels, new, strict=True)]
    pairs = list(zip(old, new, strict=True))
    numbers = {"recordings": len(pairs), "real": recordings.real, "right": sum(right_new), "right_old": sum(right_old)}
    kind = "recordings" if recordings.real else "made-up recordings"
    if all(before.model == after.model for before, after in pairs):
        different = sum(before != after for before, after in pairs)
        text = f"{len(pairs)} {kind} answered by the same network, {different} not as before, to the bit"
        return Finding("smoke", not different, text, numbers)
    agreement = sum(before.label == after.label for before, after in pairs) / len(pairs)
    text = f"{len(pairs)} {kind} answered by another network: {agreement:.0%} with the same label (needs {AGREE:.0%})"
    if not recordings.real:
        return Finding("smoke", agreement >= AGREE, text, numbers)
    lost = sum(before and not after for before, after in zip(right_old, right_new, strict=True))
    gained = sum(after and not before for before, after in zip(right_old, right_new, strict=True))
    p = mcnemar(lost, gained)
    worse = lost > gained and p < SIGNIFICANCE
    text += f"; {sum(right_new)} right, before {sum(right_old)}, McNemar p = {p:.2g}"
    return Finding("smoke", agreement >= AGREE and not worse, text, numbers)


def knows(recordings: Recordings, old: Sequence[Answer]) -> bool:
    """Whether the old set knows enough of the answers for a comparison to say something."""
    right = sum(answer.label == label for label, answer in zip(recordings.labels, old, strict=True))
    return not recordings.real or right >= KNOWN * len(recordings.labels)


def _lacked_time(reply: Reply) -> bool:
    """Whether it is an answer after fewer than all steps, or a refusal for want of time."""
    if reply.status != 200:
        return reply.status == 429
    (answer,) = json.loads(reply.text)["answers"]
    return bool(answer.get("status") == 429 or answer.get("steps", 0) < answer.get("steps_total", 0))


def _answer(reply: Reply, i: int) -> Answer:
    """Raises SnnFusionError."""
    (answer,) = _json(reply, f"recording {i + 1}")["answers"]
    if "error" in answer:
        problem = answer["error"]
        raise SnnFusionError(f"recording {i + 1} was refused: {problem['field']}: {problem['problem']}")
    model = answer["model"]
    return Answer(answer["label"], answer["scores"], (model["digest"], model["arithmetic"]))


def _json(reply: Reply, what: str) -> Any:
    """Raises SnnFusionError."""
    if reply.status != 200:
        raise SnnFusionError(f"{what}: {f'answered {reply.status}' if reply.status else reply.text}")
    return json.loads(reply.text)
