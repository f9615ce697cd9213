"""Has the distribution of a measurement moved? Profiles of training data, and distances from them.

A profile keeps each measurement's deciles on the training recordings. The distance is the population stability
index over those bins, sum((p - q) ln(p / q)). Between two samples of the same distribution, n and m large, it is
about chi-squared with bins - 1 degrees of freedom, times 1/n + 1/m (Yurdakul 2018); a small sample is therefore
allowed what chance gives it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri  # the chi-squared distribution's; scipy.stats takes a second to import

from snn_fusion.errors import BadInput
from snn_fusion.workspace import write_atomic

BINS = 10
CHANCE = 0.001  # drift is reported only if chance gives as much more rarely than this
PRIOR = 0.5  # added to each bin's count, so that an empty one has a logarithm

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """One measurement of `n` recordings: inner bin edges, ascending, and counts, one more than edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        return sum(self.counts)


Profile = Mapping[str, Mapping[str, Bins]]  # sense, measurement


@dataclass(frozen=True)
class Drift:
    """How far `compared` ('test' or 'training') has moved from `reference`, and what is allowed."""

    sense: str
    measurement: str
    compared: str
    reference: str
    psi: float
    limit: float

    @property
    def drifted(self) -> bool:
        return self.psi > self.limit

    def __str__(self) -> str:
        return (
            f"drift: {self.measurement} of {self.sense}, {self.compared} against {self.reference}: "
            f"population stability index {self.psi:.2f}, allowed {self.limit:.2f}"
        )


def bins_of(values: Values) -> Bins:
    """Deciles of `values` (n,); NaN is left out. Equal deciles become one edge."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Bins((), (0,))
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    return Bins(tuple(map(float, edges)), _count(values, edges))


def stability_index(reference: Bins, values: Values) -> float:
    """Population stability index of `values` (n,) against a reference; 0 means the same shares in every bin."""
    counts = np.array(_count(values[np.isfinite(values)], np.array(reference.edges))) + PRIOR
    expected = np.array(reference.counts) + PRIOR
    p, q = counts / counts.sum(), expected / expected.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def allowed(reference: Bins, n: int, max_drift: float) -> float:
    """The larger of `max_drift` and what chance gives `n` values with probability CHANCE."""
    if not reference.edges or not n or not reference.n:
        return float("inf")
    return max(max_drift, float(chdtri(len(reference.edges), CHANCE)) * (1 / n + 1 / reference.n))


def compare(
    profile: Profile, values: Mapping[str, Mapping[str, Values]], max_drift: float, compared: str, reference: str
) -> list[Drift]:
    """Drift of every measurement that the profile and `values` (sense, measurement: (n,)) share."""
    return [
        Drift(
            sense,
            name,
            compared,
            reference,
            stability_index(profile[sense][name], column),
            allowed(profile[sense][name], int(np.isfinite(column).sum()), max_drift),
        )
        for sense, columns in values.items()
        for name, column in columns.items()
        if name in profile.get(sense, {})
    ]


def _count(values: Values, edges: Values) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1))


def write_profile(path: Path, profile: Profile) -> None:
    plain = {sense: {name: asdict(bins) for name, bins in of.items()} for sense, of in profile.items()}
    write_atomic(path, json.dumps({"schema": 1, "senses": plain}, indent=1))


def read_profile(path: Path) -> Profile:
    """Raises BadInput if the file is not a profile."""
    try:
        senses: dict[str, dict[str, Any]] = json.loads(path.read_text())["senses"]
        return {
            sense: {n: Bins(tuple(b["edges"]), tuple(b["counts"])) for n, b in of.items()}
            for sense, of in senses.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(path, f"not a profile of measurements: {error!r}", "remove it to go on without") from None
