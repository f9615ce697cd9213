"""Rates of spikes, of what is asked, against the recordings that the network was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from snn_fusion.data.manifest import Ref, Row, write_manifest
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.encoding.encoder import channels, encode, encode_together
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import write
from snn_fusion.network.graph import Graph, load_graph, save_graph
from snn_fusion.network.live import Live
from snn_fusion.registry.rates import FUSED, INPUT, LAYER, layer_rates, training_rates
from snn_fusion.serving import drift
from snn_fusion.serving.app import create
from snn_fusion.serving.drift import Watch
from snn_fusion.serving.load import named
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from snn_fusion.validation.drift import Profile, bins_of, read_profile
from snn_fusion.workspace import Workspace
from tests.serving.made import CLASSES, CODE, as_json, graph, recording
from tests.serving.watching import LOCAL, NEVER, value

TRAINING, TEST = range(12), range(12, 16)  # seeds of recordings


@pytest.fixture
def trained(workspace: Workspace) -> Graph:
    """encoded/ and validated/ of a few recordings of all senses, and trained/ that names them."""
    spikes: dict[Sense, list[Spikes]] = {s: [] for s in SENSES}
    for seed in (*TRAINING, *TEST):
        for sense, one in encode_together(recording(seed), CODE)[0].items():
            spikes[sense].append(one)

    def encoded(out: Path) -> dict[str, object]:
        for sense, each in spikes.items():
            with_copy = [one for each_one in each for one in (each_one, Spikes.empty(CODE.steps, each_one.channels))]
            count = len(with_copy)
            meta = {
                "id": [f"{n // 2}" for n in range(count)],
                "path": [f"{sense}/{n // 2}" for n in range(count)],
                "label": ["0"] * count,
                "split": ["train" if n // 2 in TRAINING else "test" for n in range(count)],
                "copy": [n % 2 for n in range(count)],
            }
            write(out / f"{sense}.arrow", meta, with_copy, channels(CODE, sense), CODE.steps)
        return {}

    def validated(out: Path) -> dict[str, object]:
        rows = [
            Row(str(n), "0", "train" if n in TRAINING else "test", "lab", {s: Ref(f"{s}/{n}", "", "") for s in SENSES})
            for n in (*TRAINING, *TEST)
        ]
        write_manifest(out / "joined.parquet", rows)
        return {}

    workspace.build("encoded", {}, encoded)
    workspace.build("validated", {}, validated)
    training = {"inputs": {"encoded": workspace.digest("encoded")}}
    save_graph(workspace.path("trained", "graph"), graph().network, CODE, CLASSES, training)
    return load_graph(workspace.path("trained", "graph"))


def test_the_profile_is_of_unvaried_training_recordings(trained: Graph, workspace: Workspace) -> None:
    profile = training_rates(trained, workspace)
    assert profile is not None
    assert {view: set(of) for view, of in profile.items()} == {
        **{s: {INPUT, LAYER, "joint"} for s in SENSES},
        FUSED: {"joint"},
    }
    rates = [len(encode(recording(n)["audio"], CODE).index) / (CODE.steps * channels(CODE, "audio")) for n in TRAINING]
    assert profile["audio"][INPUT] == bins_of(np.array(rates))

    live, joint = Live(trained), []
    for n in TRAINING:
        state = live.rest()
        live.advance(state, encode_together(recording(n), CODE)[0], CODE.steps)
        joint.append(layer_rates(trained, state.spikes)["joint"])
    assert profile[FUSED]["joint"] == bins_of(np.array(joint))


def test_recordings_that_were_encoded_since_are_no_reference(trained: Graph, workspace: Workspace) -> None:
    workspace.build("encoded", {"other": "inputs"}, lambda out: {"x": (out / "x").write_text("y")})
    assert training_rates(trained, workspace) is None


def test_a_graph_in_its_workspace_is_served_with_its_profile(trained: Graph, workspace: Workspace) -> None:
    model = named(str(workspace.path("trained", "graph")), "float")
    assert model.profile == training_rates(trained, workspace)
    kept = workspace.path("cache", "rates", f"{trained.digest}.json")
    assert read_profile(kept) == model.profile
    assert json.loads(kept.read_text())["schema"] == 1


def normal(mean: float, n: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


@pytest.fixture
def watch(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Of the sense audio's rate, which was normal around 0.1 in training."""
    profile: Profile = {"audio": {INPUT: bins_of(normal(0.1, 2000, 0))}}
    return Watch(replace(small_model, profile=profile), 0.25)


def feed(watch: Watch, rates: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    size = CODE.steps * channels(CODE, "audio")
    for rate in rates:
        watch.add({"audio": round(rate * size)}, {})


def test_the_same_distribution_has_not_drifted(watch: Watch) -> None:
    feed(watch, normal(0.1, 300, 1))
    (found,) = watch.found()
    assert found.psi < found.limit and not found.drifted


def test_another_distribution_has_drifted(watch: Watch) -> None:
    feed(watch, normal(0.115, 300, 1))
    (found,) = watch.found()
    assert found.drifted and "audio, requests against training" in str(found)


def test_what_was_long_ago_is_forgotten(watch: Watch) -> None:
    feed(watch, normal(0.2, 300, 1))
    feed(watch, normal(0.1, drift.WINDOW, 2))
    assert not watch.found()[0].drifted


def test_of_few_recordings_nothing_is_said(watch: Watch) -> None:
    feed(watch, normal(0.2, drift.LEAST - 1, 1))
    assert watch.found() == []


def test_a_chips_layers_are_not_compared_with_those_of_the_float_network(small_model: Model) -> None:
    bins = bins_of(normal(0.1, 100, 0))
    profile: Profile = {"audio": {INPUT: bins, LAYER: bins, "joint": bins}}
    watch = Watch(replace(small_model, profile=profile, arithmetic="loihi2"), 0.25)
    for _ in range(drift.LEAST):
        watch.add({"audio": 100}, {})  # which is all that a chip's recordings tell
    assert [one.measurement for one in watch.found()] == [INPUT]


@pytest.fixture
def client(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(drift, "LEAST", 5)
    profile: Profile = {"imu": {INPUT: bins_of(normal(0.1, 2000, 0))}}
    with TestClient(
        create(Settings(pressure_ms=NEVER), lambda _: replace(small_model, profile=profile)), LOCAL
    ) as made:
        yield made


def test_drift_is_in_the_metrics_once_there_are_enough_recordings(client: TestClient) -> None:
    labels = {"role": "champion", "view": "imu", "measurement": INPUT}
    for seed in range(5):
        assert value(client, "drift_psi", **labels) is None
        client.post("/v1/predict", json=as_json(recording(seed, "imu")))
    psi, limit = (value(client, name, **labels) for name in ("drift_psi", "drift_limit"))
    assert psi is not None and limit is not None and psi > 0 and limit >= 0.25


def test_an_answer_from_the_cache_does_not_count_twice(client: TestClient) -> None:
    for _ in range(10):
        client.post("/v1/predict", json=as_json(recording(1, "imu")))
    assert "drift_psi" not in client.get("/metrics").text


def test_without_a_profile_there_is_no_drift_rather_than_none(
    small_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LEAST", 1)
    with TestClient(create(Settings(pressure_ms=NEVER), lambda _: small_model), LOCAL) as client:
        client.post("/v1/predict", json=as_json(recording(1)))
        assert "drift" not in client.get("/metrics").text
