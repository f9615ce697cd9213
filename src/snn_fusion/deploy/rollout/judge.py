"""Is the new set of replicas as good as the old one? Pure functions over counts, each with a stated test.

An update looks many times. `alpha`, the probability of rejecting a new set that is as good as the old one, holds for
all looks of one watch together: each look gets alpha / looks (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ALPHA = 0.01
ERRORS = 0.001  # allowed share of errors where there is no old set to compare with: the objective of 99.9 %
SLOW = 0.05  # share of answers above the 95th percentile
SLOWER = 2.0  # times the old set's 95th percentile
LEAST_TIMED = 50  # answers of each set before their times are compared
Buckets = tuple[tuple[float, int], ...]
Drift = Mapping[tuple[str, str], tuple[float, float]]  # (view, measurement): population stability index, its limit


@dataclass(frozen=True)
class Counts:
    """Answers to predictions: `errors` of `requests`; `within`: (bound in s, answers that took no longer)."""

    requests: int = 0
    errors: int = 0
    within: Buckets = ()

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.errors + other.errors, _summed(self.within, other.within, 1))

    def __sub__(self, earlier: Counts) -> Counts:
        """What came since `earlier`; all of it where a restart reset the counters."""
        if self.requests < earlier.requests:
            return self
        requests, errors = self.requests - earlier.requests, max(0, self.errors - earlier.errors)
        return Counts(requests, errors, _summed(self.within, earlier.within, -1))

    @property
    def timed(self) -> int:
        return self.within[-1][1] if self.within else 0


def _summed(first: Buckets, second: Buckets, sign: int) -> Buckets:
    left, right = dict(first), dict(second)
    bounds = sorted({**left, **right})
    return tuple((bound, max(0, left.get(bound, 0) + sign * right.get(bound, 0))) for bound in bounds)


@dataclass(frozen=True)
class Finding:
    """The result of one test, in words, and the numbers that it rests on."""

    test: str
    good: bool
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"test": self.test, "good": self.good, "text": self.text, **self.numbers}


def errors(new: Counts, old: Counts | None, looks: int = 1, alpha: float = ALPHA) -> Finding:
    """Fisher's exact test, one-sided, against the old set's errors in the same time.

    p = P[X >= new errors], X hypergeometric: the new set's requests drawn from all requests, of which all errors are
    errors. Without an old set the exact binomial test: p = P[X >= new errors], X ~ Binomial(new requests, ERRORS).
    """
    from scipy.stats import binom, hypergeom

    if old is None:
        p = float(binom.sf(new.errors - 1, new.requests, ERRORS))
        compared = f"allowed {ERRORS:.1%}"
    else:
        requests, failures = new.requests + old.requests, new.errors + old.errors
        p = float(hypergeom.sf(new.errors - 1, requests, failures, new.requests))
        compared = f"the old set {old.errors:,} of {old.requests:,}"
    good = not (new.errors and p < alpha / looks)
    text = f"{new.errors:,} errors in {new.requests:,} answers, {compared}, p = {p:.2g}"
    return Finding("errors", good, text, {"p": p})


def latency(new: Counts, old: Counts, looks: int = 1, alpha: float = ALPHA) -> Finding:
    """Is the new set's 95th percentile more than SLOWER times the old set's?

    The limit is SLOWER times the old set's 95th percentile, each rounded up to a bound of the histogram. The new set
    is rejected if more than SLOW of its answers are above the limit, and significantly more than of the old set's
    (Fisher's exact test, one-sided).
    """
    from scipy.stats import hypergeom

    if min(new.timed, old.timed) < LEAST_TIMED:
        text = f"not compared: {new.timed:,} and {old.timed:,} answers, needs {LEAST_TIMED} of each"
        return Finding("latency", True, text)
    limit = _limit(old, {bound for bound, _ in new.within})
    if limit is None:
        return Finding("latency", True, "not compared: the old set is slower than the histogram's last bound")
    slow_new, slow_old = (counts.timed - dict(counts.within)[limit] for counts in (new, old))
    p = float(hypergeom.sf(slow_new - 1, new.timed + old.timed, slow_new + slow_old, new.timed))
    share_new, share_old = slow_new / new.timed, slow_old / old.timed
    good = not (share_new > SLOW and p < alpha / looks)
    text = f"{share_new:.1%} of its answers took longer than {1000 * limit:g} ms, of the old set's {share_old:.1%}"
    return Finding("latency", good, f"{text}, p = {p:.2g}", {"p": p, "limit_s": limit})


def _limit(old: Counts, bounds: set[float]) -> float | None:
    """SLOWER times the old set's 95th percentile in seconds, rounded up to one of `bounds` that the old set has too."""
    finite = [(bound, count) for bound, count in old.within if bound != float("inf")]
    percentile = next((bound for bound, count in finite if count >= (1 - SLOW) * old.timed), None)
    if percentile is None:
        return None
    return next((bound for bound, _ in finite if bound >= SLOWER * percentile and bound in bounds), None)


def drift(new: Drift, old: Drift) -> Finding:
    """Spike rates that have drifted from training in the new set but not in the old one. In both, it is the input.

    The limit of each index is the service's own: the larger of its setting and what chance gives so few answers.
    """
    for (view, measurement), (index, limit) in new.items():
        old_index, old_limit = old.get((view, measurement), (float("inf"), 0.0))
        if index > limit and old_index <= old_limit:
            text = f"{measurement} of {view}: index {index:.2f}, allowed {limit:.2f}; the old set's is within"
            return Finding("drift", False, text)
    text = f"{len(new)} spike rates compared" if new else "not compared: too few answers were computed"
    return Finding("drift", True, text)


def traffic(new: Counts, least: int) -> Finding:
    """Whether the new set has answered enough to be judged."""
    return Finding("traffic", new.requests >= least, f"{new.requests:,} answers, needs at least {least:,}")


def summary(findings: Sequence[Finding]) -> str:
    return "; ".join(f"{finding.test}: {finding.text}" for finding in findings)


def rejection(findings: Sequence[Finding]) -> str:
    """Why the new set is not as good as the old one; empty if it is."""
    return summary([finding for finding in findings if not finding.good])
