"""A cheap model that learns labels from plain features: kernel ridge regression, fitted in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 5
RIDGE = 0.1


def predict(train: Floats, labels: Ints, test: Floats, classes: int) -> Ints:
    """The class of each of `test` (m, d), learnt from `train` (n, d) and `labels` (n,)."""
    mean, spread = train.mean(0), train.std(0)
    train, test = ((one - mean) / np.where(spread > 1e-9, spread, 1.0) for one in (train, test))
    apart = _squared(train, train)
    width = np.median(apart[~np.eye(len(apart), dtype=bool)]) if len(apart) > 1 else 1.0
    kernel, across = (np.exp(-one / max(float(width), 1e-12)) for one in (apart, _squared(test, train)))
    wanted = np.where(labels[:, None] == np.arange(classes), 1.0, 0.0)
    share = wanted.mean(0)
    weights = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), wanted - share)
    answer: Ints = (across @ weights + share).argmax(1)
    return answer


def cross_validated(values: Floats, labels: Ints, subjects: Sequence[str], classes: int) -> Ints:
    """The class of each recording, learnt from the others: (n,).

    No subject is in both parts, where there are several.
    """
    fold = _folds(labels, subjects)
    answers = np.full(len(labels), -1)
    for k in np.unique(fold):
        left = fold != k
        answers[~left] = predict(values[left], labels[left], values[~left], classes)
    return answers


def _folds(labels: Ints, subjects: Sequence[str]) -> Ints:
    known = sorted(set(subjects))
    if len(known) > 1 and "" not in known:
        of = {subject: k % FOLDS for k, subject in enumerate(known)}
        return np.array([of[subject] for subject in subjects])
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        fold[here] = np.arange(len(here)) % FOLDS
    return fold


def _squared(a: Floats, b: Floats) -> Floats:
    apart: Floats = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0.0)
    return apart
