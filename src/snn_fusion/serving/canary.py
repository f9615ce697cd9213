"""A share of the requests goes to the challenger, until it does worse than the champion.

A request is given to one of the two by the digest of its content, so that the same recording always meets the same
model, or by its header `X-Model`. What the challenger answered is compared with what the champion says of the same
recording, and logged. Once the challenger fails, is slow or drifts beyond a limit, the champion answers all
requests until the service is started again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snn_fusion.registry.rates import INPUT
from snn_fusion.registry.versions import CHALLENGER, CHAMPION
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import invalid
from snn_fusion.validation.drift import Drift

HEADER = "X-Model"
WINDOW = 200  # the last answers of each model that are looked at
LEAST = 50  # answers of each before their times are compared
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """`errors`: share of the window; `slower`: times the champion's 95th percentile, with `slack_s` on top."""

    errors: float = 0.02
    slower: float = 2.0
    slack_s: float = 0.005


@dataclass(frozen=True)
class Chosen:
    """`instead`: why the champion answers what was meant for the challenger."""

    role: str
    model: Model
    instead: str | None = None

    def body(self) -> dict[str, Any]:
        return {"role": self.role} | ({"instead_of_challenger": self.instead} if self.instead else {})


class Canary:
    """Which of two models answers. `share` of the requests in 0 ... 1 is the challenger's."""

    def __init__(self, challenger: Model | None, share: float, limits: Limits | None = None) -> None:
        self.challenger, self.share, self.limits = challenger, share, limits or Limits()
        self.stopped: str | None = None  # why the challenger answers no more
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._took: dict[str, deque[float]] = {role: deque(maxlen=WINDOW) for role in (CHAMPION, CHALLENGER)}

    def choose(self, champion: Model, digest: bytes, wanted: str | None) -> Chosen:
        """By the first bytes of the content's SHA-256, or as `wanted`. Raises Problem."""
        if wanted not in (None, CHAMPION, CHALLENGER):
            raise invalid(HEADER, repr(wanted[:40]), f"{CHAMPION} or {CHALLENGER}")
        if wanted == CHALLENGER and self.challenger is None:
            raise invalid(HEADER, "no challenger is served", f"{CHAMPION}, or leave it out")
        drawn = int.from_bytes(digest[:4]) / 2**32 < self.share
        if self.challenger is None or not (drawn if wanted is None else wanted == CHALLENGER):
            return Chosen(CHAMPION, champion)
        if self.stopped:
            return Chosen(CHAMPION, champion, self.stopped)
        return Chosen(CHALLENGER, self.challenger)

    def took(self, role: str, seconds: float) -> None:
        """An answer after all steps: encoding and inference."""
        self._took[role].append(seconds)
        if role == CHALLENGER:
            self._failed.append(False)
            self._look_at_time()

    def failed(self, error: Exception) -> None:
        """The challenger gave no answer to what is no fault of the request."""
        self._failed.append(True)
        log.warning("the challenger failed: %s", type(error).__name__)
        failures = sum(self._failed)
        if failures > self.limits.errors * WINDOW:
            self._stop(f"failed {failures} times in {len(self._failed)} answers")

    def drifted(self, challenger: Iterable[Drift], champion: Iterable[Drift]) -> None:
        """A layer of the challenger that has drifted stops it, where the champion's has not: else it is the input."""
        steady = {(one.sense, one.measurement) for one in champion if not one.drifted}
        for one in challenger:
            if one.measurement != INPUT and one.drifted and (one.sense, one.measurement) in steady:
                return self._stop(str(one))

    def compare(self, challenger: dict[str, Any], champion: dict[str, Any]) -> bool:
        """Log what both said of one recording, and whether it is the same. Nothing of the recording itself."""
        agree = bool(challenger["label"] == champion["label"])
        said = {CHALLENGER: challenger, CHAMPION: champion}
        fields = {f"{role}_{name}": one[name] for role, one in said.items() for name in ("label", "margin")}
        log.info("canary: compared", extra={"fields": {**fields, "agree": agree}})
        return agree

    def _look_at_time(self) -> None:
        if min(map(len, self._took.values())) < LEAST:
            return
        mine, other = (float(np.quantile(self._took[role], 0.95)) for role in (CHALLENGER, CHAMPION))
        if mine > self.limits.slower * other + self.limits.slack_s:
            self._stop(f"95 % of its answers take {1000 * mine:.1f} ms, the champion's {1000 * other:.1f} ms")

    def _stop(self, why: str) -> None:
        if self.stopped is None:
            self.stopped = why
            log.warning("the challenger answers no more: %s", why)
