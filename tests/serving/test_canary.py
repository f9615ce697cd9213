"""A challenger beside the champion: who answers what, and when the challenger answers no more."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from snn_fusion.errors import BadInput
from snn_fusion.registry.rates import LAYER
from snn_fusion.serving import canary, drift
from snn_fusion.serving.app import create
from snn_fusion.serving.canary import Canary, Limits
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.settings import Settings
from snn_fusion.validation.drift import Profile, bins_of
from tests.serving.made import as_json, recording
from tests.serving.watching import LOCAL, NEVER, altered, value

CHALLENGER = {"X-Model": "challenger"}


@contextlib.contextmanager
def client(champion: Model, challenger: Model | None, share: float = 0.0) -> Iterator[TestClient]:
    """Answers are computed each time."""
    settings = Settings(pressure_ms=NEVER, cache=0, canary=share)
    with TestClient(
        create(settings, lambda _: champion, lambda _: challenger), LOCAL, raise_server_exceptions=False
    ) as made:
        yield made


@pytest.fixture
def better(small_model: Model) -> Model:
    """The same network as another version: only its number tells who answered."""
    return replace(small_model, version="better")


def ask(client: TestClient, seed: int = 1, **headers: str) -> dict[str, Any]:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    answer: dict[str, Any] = client.post("/v1/predict", json=as_json(recording(seed, "imu")), headers=sent).json()
    return answer


def settled(client: TestClient, name: str, least: float, **labels: str) -> float:
    """The sample once it has reached `least`: comparing goes on after an answer."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = value(client, name, **labels) or 0.0
        if found >= least:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{name} stays at {found}")


def test_the_challenger_gets_its_share_and_always_the_same_recordings(small_model: Model, better: Model) -> None:
    made = Canary(better, 0.25)
    digests = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(2000)]
    chosen = [made.choose(small_model, digest, None).role for digest in digests]
    assert 0.22 < chosen.count("challenger") / len(chosen) < 0.28
    assert chosen == [made.choose(small_model, digest, None).role for digest in digests]


def test_a_share_of_all_or_nothing_is_just_that(small_model: Model, better: Model) -> None:
    for digest in (bytes(32), b"\xff" * 32):
        assert Canary(better, 1.0).choose(small_model, digest, None).role == "challenger"
        assert Canary(better, 0.0).choose(small_model, digest, None).role == "champion"


def test_a_header_chooses_and_the_answer_says_who_gave_it(small_model: Model, better: Model) -> None:
    with client(small_model, better) as one:
        assert ask(one)["model"]["role"] == "champion"
        found = ask(one, X_Model="challenger")["model"]
        assert (found["role"], found["version"]) == ("challenger", "better")
    with client(small_model, better, share=1.0) as one:
        assert ask(one)["model"]["role"] == "challenger"
        assert ask(one, X_Model="champion")["model"]["role"] == "champion"


def test_all_recordings_of_a_batch_meet_the_model_that_its_header_names(small_model: Model, better: Model) -> None:
    body = {"recordings": [as_json(recording(seed, "imu")) for seed in range(3)]}
    with client(small_model, better) as one:
        answers = one.post("/v1/predict/batch", json=body, headers=CHALLENGER).json()["answers"]
    assert [answer["model"]["role"] for answer in answers] == ["challenger"] * 3


def test_a_header_that_names_no_model_is_refused(small_model: Model, better: Model) -> None:
    with client(small_model, better) as one:
        for path in ("/v1/predict", "/v1/predict/batch"):
            body = as_json(recording(1, "imu"))
            body = {"recordings": [body]} if path.endswith("batch") else body
            refused = one.post(path, json=body, headers={"X-Model": "best"})
            assert refused.status_code == 422
            error = refused.json()["error"]
            said = error["field"], error["problem"], error["limit"]
            assert said == ("X-Model", "'best'", "champion or challenger")
    with client(small_model, None) as one:
        refused = one.post("/v1/predict", json=as_json(recording(1, "imu")), headers=CHALLENGER)
        assert refused.status_code == 422 and "no challenger is served" in refused.text


def test_both_answers_are_logged_and_nothing_of_the_recording(
    small_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "snn_fusion.serving")
    other = altered(small_model, after=lambda _, potentials: -potentials)
    with client(small_model, other) as one:
        answer, champion = ask(one, X_Model="challenger"), ask(one)
        settled(one, "canary_compared_total", 1, agree="no")
        (fields,) = (record.fields for record in caplog.records if record.getMessage() == "canary: compared")
    assert fields == {
        **{"challenger_label": answer["label"], "challenger_margin": answer["margin"]},
        **{"champion_label": champion["label"], "champion_margin": champion["margin"]},
        "agree": False,
    }


def test_what_the_challenger_cannot_answer_the_champion_does_until_it_is_stopped(small_model: Model) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    with client(small_model, altered(small_model, fail)) as one:
        expected = ask(one)["scores"]
        answers = [ask(one, X_Model="challenger") for _ in range(8)]
        assert all(answer["scores"] == expected for answer in answers)
        why = [answer["model"]["instead_of_challenger"] for answer in answers]
        assert why == ["it failed"] * 5 + ["failed 5 times in 5 answers"] * 3
        assert value(one, "challenger_failures_total") == 5
        assert value(one, "degraded_total", how="by_champion") == 8
        assert value(one, "canary_stopped") == 1


def test_scores_that_are_no_numbers_are_a_failure(small_model: Model) -> None:
    broken = altered(small_model, after=lambda _, potentials: potentials * np.float32(np.nan))
    with client(small_model, broken) as one:
        answer = ask(one, X_Model="challenger")
        assert answer["model"]["role"] == "champion" and answer["model"]["instead_of_challenger"] == "it failed"


def test_a_request_that_is_wrong_is_not_the_challengers_failure(small_model: Model, better: Model) -> None:
    with client(small_model, better) as one:
        for _ in range(10):
            assert one.post("/v1/predict", json={"imu": None}, headers=CHALLENGER).status_code == 422
        assert value(one, "challenger_failures_total") == 0 and value(one, "canary_stopped") == 0


def test_what_the_challenger_alone_refuses_the_champion_answers_and_it_counts_as_its_failure(
    small_model: Model,
) -> None:
    code = small_model.graph.encoding
    higher = code.model_copy(update={"audio": code.audio.model_copy(update={"high_hz": 7000.0})})  # needs 14 kHz
    choosy = replace(small_model, graph=replace(small_model.graph, encoding=higher), version="choosy")
    body = as_json(recording(1, "audio"))
    with client(small_model, choosy) as one:
        expected = one.post("/v1/predict", json=body).json()["scores"]
        answer = one.post("/v1/predict", json=body, headers=CHALLENGER)
        assert (answer.status_code, answer.json()["scores"]) == (200, expected)
        model = answer.json()["model"]
        assert (model["role"], model["instead_of_challenger"]) == ("champion", "it failed")
        assert value(one, "challenger_failures_total") == 1
        body["audio"]["rate"] = 100  # which neither takes
        assert one.post("/v1/predict", json=body, headers=CHALLENGER).json()["error"]["field"] == "audio.rate"
        assert value(one, "challenger_failures_total") == 1


def test_a_slow_challenger_is_stopped_and_the_log_says_how_slow(
    small_model: Model, better: Model, caplog: pytest.LogCaptureFixture
) -> None:
    made = Canary(better, 1.0)
    for _ in range(canary.LEAST):
        assert made.stopped is None
        made.took("champion", 0.004)
        made.took("challenger", 0.0215)
    chosen = made.choose(small_model, bytes(32), None)
    assert chosen.role == "champion"
    assert chosen.instead == "95 % of its answers take 21.5 ms, the champion's 4.0 ms"
    assert "the challenger answers no more: 95 %" in caplog.text


def test_a_challenger_as_fast_as_the_champion_goes_on(small_model: Model, better: Model) -> None:
    made = Canary(better, 1.0, Limits())
    for n in range(1000):
        made.took("champion", 0.004 + 0.001 * (n % 3))
        made.took("challenger", 0.005 + 0.001 * (n % 5))
    assert made.stopped is None


def test_one_failure_in_a_hundred_is_allowed_and_three_are_not(better: Model) -> None:
    made = Canary(better, 1.0, Limits(errors=0.02))
    for _ in range(500):
        for _ in range(99):
            made.took("challenger", 0.005)
        made.failed(RuntimeError())
    assert made.stopped is None
    for n in range(200):
        made.failed(RuntimeError()) if n % 33 == 0 else made.took("challenger", 0.005)
    assert made.stopped is not None and "failed 5 times" in made.stopped


def test_a_challenger_whose_layers_drift_is_stopped(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "LEAST", 10)
    monkeypatch.setattr("snn_fusion.serving.answering.LOOK", 10)
    rates = np.random.default_rng(0).uniform(0, 1, 500)
    profile: Profile = {"imu": {LAYER: bins_of(rates)}}

    def twice(state: Any, potentials: Any) -> Any:
        state.spikes["imu"] = state.spikes["imu"] + 50 * 40  # as if each neuron fired in every step more
        return potentials

    usual = iter([0.05 + 0.1 * (n % 10) for n in range(1000)])

    def spread(state: Any, potentials: Any) -> Any:
        state.spikes["imu"] = round(next(usual) * 50 * 40)
        return potentials

    champion = replace(altered(small_model, after=spread), profile=profile)
    with client(champion, replace(altered(small_model, after=twice), profile=profile), share=1.0) as one:
        for seed in range(20):
            ask(one, seed)
            settled(one, "canary_compared_total", min(seed + 1, 10), agree="yes")
        why = ask(one, 30)["model"].get("instead_of_challenger", "")
    assert why.startswith("drift: layer of imu, requests against training")


def test_what_drifts_for_the_champion_too_is_not_the_challengers_fault(small_model: Model, better: Model) -> None:
    found = [drift.Drift("imu", LAYER, "requests", "training", 2.0, 0.25)]
    made = Canary(better, 1.0)
    made.drifted(found, found)
    made.drifted(found, [])  # nothing is known of the champion's
    assert made.stopped is None
    made.drifted(found, [replace(found[0], psi=0.1)])
    assert made.stopped is not None


def test_a_share_without_a_challenger_is_refused_at_the_start() -> None:
    with pytest.raises(BadInput, match=r"SERVE_CANARY: is 0.1, but there is no challenger .set SNN_FUSION_SERVE_CHALL"):
        Settings.from_environment({"SNN_FUSION_SERVE_CANARY": "0.1"})
    with pytest.raises(BadInput, match="a share"):
        Settings.from_environment({"SNN_FUSION_SERVE_CANARY": "5"})


def test_an_unknown_model_is_quoted_only_so_far(small_model: Model) -> None:
    with pytest.raises(Problem) as refused:
        Canary(None, 0).choose(small_model, bytes(32), "x" * 10_000)
    assert len(refused.value.problem) < 50
