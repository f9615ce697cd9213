"""What an update is judged by: tests on counts, the smoke test's comparison, the metrics they are read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from snn_fusion.deploy.rollout import judge, metrics, record, smoke
from snn_fusion.deploy.rollout.judge import Buckets, Counts
from snn_fusion.deploy.rollout.live import Live, exclusive
from snn_fusion.deploy.rollout.smoke import Answer, Recordings
from snn_fusion.errors import BadInput
from snn_fusion.serving.metrics import SECONDS, Metrics

OLD = Answer("7", {"7": 0.9, "1": 0.1}, ("digest", "float"))


def timed(milliseconds: float, count: int = 1000) -> Counts:
    """Answers whose times are exponential with this mean, by their exact quantiles."""
    times = -milliseconds / 1000 * np.log1p(-(np.arange(count) + 0.5) / count)
    bounds = (*SECONDS, float("inf"))
    return Counts(count, 0, tuple((bound, int(np.sum(times <= bound))) for bound in bounds))


def test_equal_sets_are_rarely_rejected_however_often_one_looks() -> None:
    """alpha is 1 % of all looks together; 200 updates with 0.5 % of errors on both sides, 20 looks each."""
    draws, looks = np.random.default_rng(0), 20
    rejected = 0
    for _ in range(200):
        new, old = draws.binomial(100, 0.005, looks).cumsum(), draws.binomial(900, 0.005, looks).cumsum()
        findings = (
            judge.errors(Counts(100 * i, int(new[i - 1])), Counts(900 * i, int(old[i - 1])), looks)
            for i in range(1, looks + 1)
        )
        rejected += any(not finding.good for finding in findings)
    assert rejected <= 4


@pytest.mark.parametrize(
    ("new", "old", "good"),
    [
        (Counts(200, 20), Counts(1800, 0), False),
        (Counts(200, 20), Counts(1800, 180), True),
        (Counts(200, 1), Counts(1800, 0), True),
        (Counts(2000, 0), None, True),
        (Counts(2000, 3), None, True),
        (Counts(2000, 20), None, False),
        (Counts(), Counts(), True),
        (Counts(), None, True),
    ],
)
def test_more_errors_than_the_old_set_or_the_objective_are_rejected(
    new: Counts, old: Counts | None, good: bool
) -> None:
    assert judge.errors(new, old).good is good


@pytest.mark.parametrize(("new", "good"), [(timed(10), True), (timed(12), True), (timed(40), False), (timed(3), True)])
def test_times_are_rejected_from_about_twice_the_old_sets_on(new: Counts, good: bool) -> None:
    finding = judge.latency(new, timed(10))
    assert finding.good is good and "took longer than 100 ms" in finding.text


def test_too_few_answers_are_not_compared_and_the_finding_says_so() -> None:
    assert judge.latency(timed(1000, 49), timed(10)).text == "not compared: 49 and 1,000 answers, needs 50 of each"


def test_images_with_other_histogram_bounds_are_compared_at_a_shared_one() -> None:
    coarse: Buckets = ((0.25, 1000), (1.0, 1000), (float("inf"), 1000))
    assert "250 ms" in judge.latency(Counts(1000, 0, coarse), timed(10)).text


def test_counters_that_a_restart_reset_count_from_zero() -> None:
    before = Counts(100, 10, ((0.1, 50), (1.0, 100)))
    later = Counts(150, 12, ((0.1, 80), (1.0, 150)))
    assert later - before == Counts(50, 2, ((0.1, 30), (1.0, 50)))
    restarted = Counts(5, 1, ((0.1, 5), (1.0, 5)))
    assert restarted - before == restarted


def test_drift_of_both_sets_is_the_inputs_and_of_the_new_one_alone_is_its_own() -> None:
    key = ("audio", "input")
    assert not judge.drift({key: (0.5, 0.25)}, {key: (0.1, 0.25)}).good
    assert judge.drift({key: (0.5, 0.25)}, {key: (0.4, 0.25)}).good
    assert judge.drift({key: (0.2, 0.25)}, {key: (0.1, 0.25)}).good
    assert judge.drift({key: (0.5, 0.25)}, {}).good, "nothing to compare with"


def test_metrics_of_the_service_are_read_as_counts() -> None:
    service = Metrics()
    service.requests.labels("/v1/predict", "200").inc(90)
    service.requests.labels("/v1/predict", "429").inc(4)
    service.requests.labels("/v1/predict/batch", "500").inc(3)
    service.requests.labels("/docs", "500").inc(50)
    service.degraded.labels("refused").inc(4)
    for seconds in (0.003, 0.03, 20):
        service.request_s.labels("/v1/predict").observe(seconds)
    service.request_s.labels("/v1/predict/batch").observe(0.003)
    counts = metrics.read(generate_latest(service.registry).decode()).counts
    assert (counts.requests, counts.errors, counts.timed) == (97, 7, 3)
    assert dict(counts.within)[0.005] == 1 and dict(counts.within)[10] == 2


def test_the_replica_that_drifted_furthest_stands_for_all() -> None:
    key = ("audio", "input")
    reports = [metrics.Report(Counts(1), {key: (index, 0.25)}) for index in (0.1, 0.4, 0.2)]
    assert metrics.combined(reports) == metrics.Report(Counts(3), {key: (0.4, 0.25)})


def recordings(count: int, real: bool = True) -> Recordings:
    return Recordings(("7",) * count, ({},) * count, real)


def test_the_same_network_must_answer_the_same_to_the_bit() -> None:
    changed = replace(OLD, scores={"7": 0.9000000001, "1": 0.1})
    assert smoke.compare(recordings(2), [OLD, OLD], [OLD, OLD]).good
    finding = smoke.compare(recordings(2), [OLD, OLD], [OLD, changed])
    assert not finding.good and "1 not as before" in finding.text


@pytest.mark.parametrize(("wrong", "good"), [(0, True), (3, True), (6, False)])
def test_another_network_may_differ_a_little_but_not_know_less(wrong: int, good: bool) -> None:
    """6 of 100 lost and none gained: McNemar p = 0.03."""
    new = [replace(OLD, label="1" if i < wrong else "7", model=("other", "float")) for i in range(100)]
    assert smoke.compare(recordings(100), [OLD] * 100, new).good is good


def test_another_network_that_agrees_too_rarely_is_rejected_even_without_real_recordings() -> None:
    new = [replace(OLD, label="1" if i < 20 else "7", model=("other", "float")) for i in range(100)]
    assert not smoke.compare(recordings(100, real=False), [OLD] * 100, new).good


def test_a_damaged_line_of_the_history_is_named(tmp_path: Path) -> None:
    record.append(tmp_path, "rolling", "done", "ready", "a", "b", 1.0)
    with (tmp_path / record.NAME).open("a") as out:
        out.write("{")
    with pytest.raises(BadInput, match=r"rollouts\.jsonl: line 2: not JSON"):
        record.read(tmp_path)


def test_a_second_update_is_refused_naming_the_first(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path, "deploy rolling"),
        pytest.raises(BadInput, match=r"`deploy rolling` is running \(process \d+\)"),
        exclusive(tmp_path, "deploy canary"),
    ):
        pass
    with exclusive(tmp_path, "deploy canary"):
        pass


def test_a_damaged_state_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "replicas.json").write_text('{"active": 3}')
    with pytest.raises(BadInput, match=r"replicas\.json: cannot be used: .*restore it from a backup, or delete it"):
        Live.load(tmp_path)
