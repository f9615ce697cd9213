"""Is the new set of replicas as good as the old one? Pure functions over counts, each with a stated test.

An update looks again and again, so that chance would find something sooner or later: `alpha`, the probability of
turning back a new set that is as good as the old, is of all looks together; each gets its part of it (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ALPHA = 0.01
ERRORS = 0.001  # share of answers that may be errors where there is nothing to compare with: the objective of 99.9 %
SLOW = 0.05  # share that is slower than the 95th percentile
SLOWER = 2.0  # times the old set's 95th percentile
LEAST_SLOW = 50  # answers of each before their times are compared
Buckets = tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Counts:
    """Answers of replicas to predictions: `errors` of `requests`; `within`: bound in s, answers that took no longer."""

    requests: int = 0
    errors: int = 0
    within: Buckets = ()

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.errors + other.errors, _summed(self.within, other.within, 1))

    def __sub__(self, before: Counts) -> Counts:
        """What came since `before`; all of it where a restart set the counters back."""
        if self.requests < before.requests:
            return self
        requests, errors = self.requests - before.requests, max(0, self.errors - before.errors)
        return Counts(requests, errors, _summed(self.within, before.within, -1))

    @property
    def timed(self) -> int:
        return self.within[-1][1] if self.within else 0


def _summed(first: Buckets, second: Buckets, sign: int) -> Buckets:
    of, by = dict(first), dict(second)
    return tuple((bound, max(0, of.get(bound, 0) + sign * by.get(bound, 0))) for bound in sorted({**of, **by}))


@dataclass(frozen=True)
class Finding:
    """What one test found: `good`, in words, and the numbers that it rests on."""

    test: str
    good: bool
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"test": self.test, "good": self.good, "text": self.text, **self.numbers}


def errors(new: Counts, old: Counts | None, looks: int = 1, alpha: float = ALPHA) -> Finding:
    """Errors beside the old set's at the same time: Fisher's exact test, one-sided. Without an old set: the exact
    binomial test against ERRORS.
    """
    from scipy.stats import binom, hypergeom

    if old is None:
        p = float(binom.sf(new.errors - 1, new.requests, ERRORS))
        beside = f"allowed {ERRORS:.1%}"
    else:
        both, wrong = new.requests + old.requests, new.errors + old.errors
        p = float(hypergeom.sf(new.errors - 1, both, wrong, new.requests))
        beside = f"the old set {old.errors:,} of {old.requests:,}"
    good = not (new.errors and p < alpha / looks)
    text = f"{new.errors:,} errors in {new.requests:,} answers, {beside}, p = {p:.2g}"
    return Finding("errors", good, text, {"p": p})


def latency(new: Counts, old: Counts, looks: int = 1, alpha: float = ALPHA) -> Finding:
    """Is the new set's 95th percentile more than SLOWER times the old set's?

    Both are rounded up to bounds of the histogram. The new set fails if more than SLOW of its answers are above that
    bound, and significantly more than of the old set's: Fisher's exact test, one-sided.
    """
    from scipy.stats import hypergeom

    if min(new.timed, old.timed) < LEAST_SLOW:
        text = f"not compared: {new.timed:,} and {old.timed:,} answers, of each at least {LEAST_SLOW}"
        return Finding("latency", True, text)
    bound = _bound(old)
    if bound is None:
        return Finding("latency", True, "not compared: the old set is slower than the histogram's last bound")
    slow, slow_old = (one.timed - dict(one.within)[bound] for one in (new, old))
    p = float(hypergeom.sf(slow - 1, new.timed + old.timed, slow + slow_old, new.timed))
    share, share_old = slow / new.timed, slow_old / old.timed
    good = not (share > SLOW and p < alpha / looks)
    text = f"{share:.1%} of its answers took longer than {1000 * bound:g} ms, of the old set's {share_old:.1%}"
    return Finding("latency", good, f"{text}, p = {p:.2g}", {"p": p, "bound_s": bound})


def _bound(old: Counts) -> float | None:
    """SLOWER times the 95th percentile, each rounded up to a bound of the histogram."""
    bounds = [bound for bound, _ in old.within if bound != float("inf")]
    reached = [bound for bound, within in old.within if within >= (1 - SLOW) * old.timed and bound in bounds]
    above = [bound for bound in bounds if reached and bound >= SLOWER * reached[0]]
    return above[0] if above else None


Rates = Mapping[tuple[str, str], tuple[float, float]]  # view, measurement: population stability index, its limit


def drift(new: Rates, old: Rates) -> Finding:
    """Rates of spikes that have drifted from training in the new set and not in the old one; in both, it is the input.

    The limit of each index is the service's own: DRIFT, or what chance gives so few answers.
    """
    moved = [key for key, (psi, limit) in new.items() if psi > limit and key in old and old[key][0] <= old[key][1]]
    if moved:
        view, name = moved[0]
        psi, limit = new[moved[0]]
        return Finding(
            "drift", False, f"{name} of {view}: index {psi:.2f}, allowed {limit:.2f}; the old set's is within"
        )
    text = f"{len(new)} rates of spikes compared" if new else "not compared: too few answers were computed"
    return Finding("drift", True, text)


def enough(new: Counts, least: int) -> Finding:
    """Whether the new set has answered enough to be judged by."""
    return Finding("traffic", new.requests >= least, f"{new.requests:,} answers, wanted at least {least:,}")


def failed(findings: Sequence[Finding]) -> str | None:
    """Why the new set is not as good as the old one; None if it is."""
    bad = [f"{one.test}: {one.text}" for one in findings if not one.good]
    return "; ".join(bad) or None
