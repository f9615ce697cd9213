"""Recordings with known answers, asked of old and new replicas: what a network of the same digest says must be equal to
the bit, and another one must not know the answers worse.

Each recording is asked for as a batch of one, which no cache answers (docs/serving-operation.md).
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
KNOWN = 0.5  # share of real recordings that the old set has to know, or it is nothing to compare with
SIGNIFICANCE = 0.05  # of McNemar's test of what both know
AGAIN = 10  # times that a recording is asked for which there was no time for all steps
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
    seconds: float
    text: str


Ask = Callable[[Sequence[Call]], list[Reply]]


@dataclass(frozen=True)
class Recordings:
    """`labels` of `bodies`; `real`: what people said and wrote, else made up, so that the labels say little."""

    labels: tuple[str, ...]
    bodies: tuple[Any, ...]
    real: bool


@dataclass(frozen=True)
class Answer:
    """What one recording was answered with; `model` is digest and arithmetic."""

    label: str
    scores: dict[str, float]
    model: tuple[str, str]


def made_up(ask: Ask) -> Recordings:
    """The service's own examples, for where no real recordings are at hand. Raises SnnFusionError."""
    (listed,) = ask([Call("GET", "/v1/examples")])
    labels = _json(listed, "/v1/examples")["labels"]
    replies = ask([Call("GET", f"/v1/examples/{label}?seed=0") for label in labels])
    return Recordings(tuple(labels), tuple(_json(one, "/v1/examples") for one in replies), real=False)


def answers(ask: Ask, recordings: Recordings, pause: Callable[[float], None] = time.sleep) -> list[Answer]:
    """Of one replica, in all steps. Raises SnnFusionError naming the first recording that has no such answer."""
    found: dict[int, Answer] = {}
    why = ""
    for turn in range(AGAIN):
        missing = [i for i in range(len(recordings.bodies)) if i not in found]
        if not missing:
            break
        if turn:
            pause(PAUSE_S)
        replies = ask([Call("POST", PREDICT, json.dumps({"recordings": [recordings.bodies[i]]})) for i in missing])
        for i, reply in zip(missing, replies, strict=True):
            if reply.status == 429 or _short(reply):
                why = f"recording {i + 1}: no time for all steps"
                continue
            found[i] = _answer(reply, i)
    if len(found) < len(recordings.bodies):
        raise SnnFusionError(why)
    return [found[i] for i in range(len(recordings.bodies))]


def compare(recordings: Recordings, old: Sequence[Answer], new: Sequence[Answer]) -> Finding:
    """The finding of the smoke test."""
    known = [
        (one.label == label, other.label == label)
        for label, one, other in zip(recordings.labels, old, new, strict=True)
    ]
    right_old, right_new = sum(one for one, _ in known), sum(other for _, other in known)
    numbers = {"recordings": len(known), "real": recordings.real, "right": right_new, "right_before": right_old}
    kind = "recordings" if recordings.real else "made-up recordings"
    pairs = list(zip(old, new, strict=True))
    if all(one.model == other.model for one, other in pairs):
        differ = [i + 1 for i, (one, other) in enumerate(pairs) if one != other]
        text = f"{len(pairs)} {kind} answered by the same network, {len(differ)} otherwise than before, to the bit"
        return Finding("smoke", not differ, text, numbers)
    agree = sum(one.label == other.label for one, other in pairs) / len(pairs)
    text = f"{len(pairs)} {kind} answered by another network: {agree:.0%} with the same label (wanted {AGREE:.0%})"
    if not recordings.real:
        return Finding("smoke", agree >= AGREE, text, numbers)
    only_old, only_new = (sum(a and not b for a, b in known), sum(b and not a for a, b in known))
    p = mcnemar(only_old, only_new)
    worse = only_old > only_new and p < SIGNIFICANCE
    text += f"; {right_new} right, before {right_old}, McNemar p = {p:.2g}"
    return Finding("smoke", agree >= AGREE and not worse, text, numbers)


def knows(recordings: Recordings, old: Sequence[Answer]) -> bool:
    """Whether the answers that are there now are worth comparing with."""
    right = sum(one.label == label for label, one in zip(recordings.labels, old, strict=True))
    return not recordings.real or right >= KNOWN * len(recordings.labels)


def _short(reply: Reply) -> bool:
    """Whether it is an answer after fewer than all steps, or a refusal for want of time."""
    if reply.status != 200:
        return False
    (one,) = json.loads(reply.text)["answers"]
    return bool(one.get("status") == 429 or one.get("steps", 0) < one.get("steps_total", 0))


def _answer(reply: Reply, i: int) -> Answer:
    (one,) = _json(reply, f"recording {i + 1}")["answers"]
    if "error" in one:
        raise SnnFusionError(f"recording {i + 1} was refused: {one['error']['field']}: {one['error']['problem']}")
    model = one["model"]
    return Answer(one["label"], one["scores"], (model["digest"], model["arithmetic"]))


def _json(reply: Reply, what: str) -> Any:
    """Raises SnnFusionError."""
    if reply.status != 200:
        raise SnnFusionError(f"{what}: {f'answered {reply.status}' if reply.status else reply.text}")
    return json.loads(reply.text)
