"""Chips beside the float network: what is lost, who may not pass, and the page that shows it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from snn_fusion.benchmark import chip_stage, left_out
from snn_fusion.benchmark.chip_stage import benchmark, compare, judge, losses
from snn_fusion.benchmark.chip_table import table
from snn_fusion.benchmark.conditions import CHIP_CONDITIONS, CONDITIONS, LEFT_OUT
from snn_fusion.benchmark.porting import Answer, compared, cosine
from snn_fusion.benchmark.speakers import recipe, speakers
from snn_fusion.benchmark.stage import evaluate
from snn_fusion.config import Params
from snn_fusion.data.manifest import read_manifest, write_manifest
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import write
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.targets import stage
from snn_fusion.targets.akida import tune as windowed
from snn_fusion.targets.akida.collapsed import Collapsed
from snn_fusion.targets.artefact import save_artefact
from snn_fusion.targets.compile import lowered, read_program, target
from snn_fusion.targets.contract import Artefact
from snn_fusion.targets.fidelity import allowed
from snn_fusion.targets.present import SPIKES, windows
from snn_fusion.targets.program_file import save_program
from snn_fusion.workspace import Workspace

from .test_report import Reader


@pytest.mark.parametrize(
    ("recordings", "may_lose"), [(1, 1), (100, 1), (199, 1), (200, 1), (399, 1), (400, 2), (1749, 8)]
)
def test_half_a_point_may_be_lost_or_one_recording_where_there_are_few(recordings: int, may_lose: int) -> None:
    assert allowed(recordings, 0.005) == may_lose


def test_rates_are_compared_by_the_angle_between_them() -> None:
    a, none = np.array([1.0, 2.0, 0.0]), np.zeros(3)
    assert cosine(a, 3 * a) == pytest.approx(1.0)
    assert cosine(a, np.array([0.0, 0.0, 5.0])) == 0.0
    assert (cosine(none, none), cosine(a, none)) == (1.0, 0.0)


def chip(lost: int, n: int = 100) -> dict[str, Any]:
    one = {
        "n": n,
        "float": 0.9,
        "chip": 0.9 - lost / n,
        "lost": lost,
        "allowed": 1,
        "passed": lost <= 1,
        "agreement": 0.9,
    }
    return {"state": "measured", "passed": lost <= 1, "fidelity": {"n3": {"audio": one | {"rate_cosine": {}}}}}


def test_a_chip_that_loses_too_much_or_failed_blocks_and_says_by_how_much() -> None:
    left_out = {"state": "unavailable", "why": "left out"}
    assert judge({"loihi2": chip(1), "akida": left_out}, {})["passed"]
    verdict = judge({"loihi2": chip(3), "akida": left_out, "spinnaker": {"state": "failed", "why": "it hung"}}, {})
    assert not verdict["passed"]
    assert verdict["problems"]["loihi2"] == "n3 audio: 87.0 % instead of 90.0 % (3 of 100 recordings, 1 allowed)"
    assert verdict["problems"]["spinnaker"] == "it hung"
    assert losses(chip(1)) == []


def test_a_waived_chip_does_not_block_and_its_reason_is_kept() -> None:
    verdict = judge({"loihi2": chip(3)}, {"loihi2": "an experiment", "akida": "not needed"})
    assert verdict["passed"] and verdict["waived"] == {"loihi2": "an experiment"} and verdict["problems"]
    assert not judge({"loihi2": chip(3)}, {"akida": "another"})["passed"]
    unmeasured = judge({"loihi2": {"state": "failed", "why": "it hung"}}, {"loihi2": "an experiment"})
    assert unmeasured["passed"] and unmeasured["waived"] == {"loihi2": "an experiment"}


def test_a_condition_that_was_left_out_stops_nothing_and_is_named() -> None:
    verdict = judge({"loihi2": chip(1) | {"not_measured": {LEFT_OUT: "skipped"}}, "spinnaker": chip(1)}, {})
    assert verdict["passed"] and verdict["not_measured"] == {"loihi2": {LEFT_OUT: "skipped"}}


@pytest.fixture
def ported(params: Params, trained_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace in which Loihi 2 has been compiled for, and the other chips were left out."""
    for name in ("AKIDA", "SPINNAKER"):
        monkeypatch.setenv(name, "no")
    real = stage.installed
    monkeypatch.setattr(stage, "installed", lambda name: "here" if name == "loihi2" else real(name))
    ws = Workspace(tmp_path / "home")
    shutil.copytree(trained_workspace.root, ws.root)
    ws.build("compiled/loihi2", {"made": "for a test"}, lambda out: put_compiled(ws, out))
    speakers(params, ws, skip=True)
    return ws


def put_compiled(ws: Workspace, out: Path) -> dict[str, Any]:
    graph = ws.path("trained", "graph")
    artefact = target("loihi2").lower(read_program(graph)[0])
    sealed = save_artefact(out, replace(artefact, meta={**artefact.meta, "presentation": SPIKES}))
    found = {
        "spikes": 0,
        "potentials": 0,
        "compared": 10,
        "words": 0,
        "words_compared": 0,
        "tool": "lava <0.10>",
        "recordings": 2,
    }
    content = {
        "reference": {"spikes": 7, "differ": 0, "recordings": 2},
        "digest": sealed,
        "graph": load_graph(graph).digest,
        "conformance": found,
        "warnings": [],
        "tuning": {},
    }
    (out / "compiled.json").write_text(json.dumps(content))
    return {}


def test_each_condition_is_measured_on_chip_and_float_with_the_same_recordings(
    params: Params, ported: Workspace
) -> None:
    result = benchmark(params, ported, "loihi2")
    found = json.loads(ported.path("measured", "loihi2", "measured.json").read_text())
    assert set(found["fidelity"]) == {condition.name for condition in CONDITIONS}
    assert set(found["fidelity"]["clean"]) == {"audio", "events", "imu", "fused"}
    evaluate(params, ported)
    evaluation = json.loads(ported.path("evaluated", "evaluation.json").read_text())["accuracy"]
    for condition, views in found["fidelity"].items():
        for view, one in views.items():
            assert one["float"] == pytest.approx(evaluation[condition][view]["value"])
            assert one["lost"] == round(one["n"] * (one["float"] - one["chip"]))
            assert all(0.99 < value <= 1 + 1e-9 for value in one["rate_cosine"].values())
    named = {m["metric"]: m for m in found["measurements"]}
    assert named["accuracy.n1.audio"]["provenance"] == "emulated"
    assert named["simulation"]["provenance"] == "measured" and "not the chip's own" in named["simulation"]["source"]
    assert named["energy"] == {"metric": "energy", "value": None, "unit": "J", "provenance": "unavailable"} | {
        "source": named["energy"]["source"]
    }
    assert result["passed"] is found["passed"]
    assert benchmark(params, ported, "loihi2")["up_to_date"]


def put_left_out(params: Params, ws: Workspace) -> None:
    """The network in trained/ in place of those without speaker s0 and without s1."""

    def left(out: Path) -> dict[str, Any]:
        found, rng = [], np.random.default_rng(0)
        rows = read_manifest(ws.path("validated", "recordings.parquet"))
        graph = load_graph(ws.path("trained", "graph"))
        for name in ("s0", "s1"):
            shutil.copytree(ws.path("trained", "graph"), out / name / "graph")
            own = [replace(r, senses={"audio": r.senses["audio"]}) for r in rows if r.subjects == (name,)]
            write_manifest(out / name / "recordings.parquet", own)
            for sense in graph.network.senses:
                shape = graph.encoding.steps, channels(graph.encoding, sense)
                spikes = [Spikes.from_dense(rng.random(shape) < 0.3) for _ in range(4)]
                write(out / name / "examples" / f"{sense}.arrow", {}, spikes, shape[1], shape[0])
            found.append({"speaker": name, "folder": name})
        (out / "left_out.json").write_text(json.dumps({"not_measured": None, "networks": found}))
        return {}

    ws.build("left_out", recipe(params, ws), left)


def measured(ws: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ws.path("measured", "loihi2", "measured.json").read_text())
    return content


def test_speakers_left_out_are_a_condition_over_all_of_them(params: Params, ported: Workspace) -> None:
    put_left_out(params, ported)
    result = benchmark(params, ported, "loihi2")
    assert "not_measured" not in result
    found = measured(ported)
    assert set(found["fidelity"]) == {one.name for one in CHIP_CONDITIONS} and found["not_measured"] == {}
    for suffix, condition in (("", "clean"), ("_n1", "n1"), ("_n3", "n3")):
        one, same = found["fidelity"][LEFT_OUT + suffix]["audio"], found["fidelity"][condition]["audio"]
        assert (one["n"], one["allowed"]) == (20, 1) and one["agreement"] > 0.9
        assert one["rate_cosine"].keys() == same["rate_cosine"].keys()
        alone = one["by_speaker"]
        assert [each["n"] for each in alone.values()] == [10, 10]
        assert sum(each["lost"] for each in alone.values()) == one["lost"]
        assert np.mean([each["float"] for each in alone.values()]) == pytest.approx(one["float"])
        assert alone["s1"]["float"] == same["float"]  # the same network on the recordings of the test split
    evaluate(params, ported)
    verdict = compare(params, ported)
    assert verdict["not_measured"] == {}
    page = Reader(ported.path("compared", "report.html").read_text())
    assert not page.open and "speaker left out" in page.words and "a speaker it never heard, n2" in page.words


def test_a_chip_that_loses_on_a_speaker_left_out_does_not_pass(
    params: Params, ported: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_left_out(params, ported)

    def damaged(*arguments: Any) -> tuple[Artefact, list[str]]:
        artefact, warnings = lowered(*arguments)
        turned = {k: -v if k.startswith("readout") and k.endswith("weights") else v for k, v in artefact.arrays.items()}
        return replace(artefact, arrays=turned), warnings

    def float_is_right(answers: Sequence[Answer], *more: Any) -> dict[str, Any]:
        return compared([(name, says, says, chip) for name, _, says, chip in answers], *more)

    monkeypatch.setattr(left_out, "lowered", damaged)
    monkeypatch.setattr(left_out, "compared", float_is_right)
    assert benchmark(params, ported, "loihi2")["passed"] is False
    assert any(line.startswith(f"{LEFT_OUT} audio:") for line in losses(measured(ported)))


def test_a_condition_left_out_is_said_on_terminal_and_page_and_lets_the_network_pass(
    params: Params, ported: Workspace
) -> None:
    evaluate(params, ported)
    assert LEFT_OUT in benchmark(params, ported, "loihi2")["not_measured"]
    verdict = compare(params, ported)
    assert verdict["passed"] is measured(ported)["passed"] and set(verdict["not_measured"]) == {"loihi2"}
    said = f"{LEFT_OUT}: not measured on Loihi 2: skipped; `snn-fusion retrain` measures it"
    assert said in Reader(ported.path("compared", "report.html").read_text()).words
    text = io.StringIO()
    Console(file=text, width=200).print(table(json.loads(ported.path("compared", "targets.json").read_text())))
    assert said in text.getvalue()


def test_a_chip_whose_own_networks_were_not_made_says_so(params: Params, ported: Workspace) -> None:
    put_left_out(params, ported)
    found = left_out.on_speakers(params, ported, target("akida"), {"kind": "windows"})
    assert found == ({}, {LEFT_OUT: left_out.NOT_TAUGHT})


def test_a_chip_with_a_network_of_its_own_runs_the_one_that_was_taught_without_the_speaker(
    params: Params, ported: Workspace
) -> None:
    put_left_out(params, ported)
    graph = load_graph(ported.path("trained", "graph"))
    how, chance = windowed.presentation(graph), torch.Generator().manual_seed(0)
    network = Collapsed(how, len(graph.classes), chance)
    shown = {s: torch.randint(4, (8, how.windows, n), generator=chance) for s, n in how.channels.items()}
    network.calibrate({s: counts.float() for s, counts in shown.items()})
    made = windowed.versions(network.program(how.window * graph.encoding.step_ms / 1000), how)
    for name in ("s0", "s1"):
        for one, (program, way) in made.items():
            save_program(ported.path("left_out", name, "tuned", one), program, {"presentation": windows(way)})
    found, version2 = (
        left_out.on_speakers(params, ported, target(name), {"kind": "windows"}) for name in ("akida", "akida2")
    )
    assert found == version2  # two forms of the same network
    fidelity, why_not = found
    assert why_not == {} and list(fidelity) == [LEFT_OUT, *(f"{LEFT_OUT}_{level}" for level in ("n1", "n2", "n3"))]
    assert fidelity[LEFT_OUT]["audio"]["n"] == 20 and fidelity[LEFT_OUT]["audio"]["rate_cosine"] == {}
    floats, _ = left_out.on_speakers(params, ported, target("loihi2"), SPIKES)
    assert fidelity[LEFT_OUT]["audio"]["float"] == floats[LEFT_OUT]["audio"]["float"]


def test_networks_without_a_speaker_must_be_there_and_of_this_recipe(params: Params, ported: Workspace) -> None:
    shutil.rmtree(ported.path("left_out"))
    with pytest.raises(BadInput, match=r"has not been run.*snn-fusion speakers"):
        benchmark(params, ported, "loihi2")
    put_left_out(params, ported)
    with pytest.raises(BadInput, match=r"other recordings or parameters.*snn-fusion speakers"):
        benchmark(params.model_copy(update={"seed": 1}), ported, "loihi2")


def test_the_comparison_has_every_target_and_the_page_is_valid(params: Params, ported: Workspace) -> None:
    evaluate(params, ported)
    benchmark(params, ported, "loihi2")
    verdict = compare(params, ported)
    content = json.loads(ported.path("compared", "targets.json").read_text())
    states = {name: one["state"] for name, one in content["targets"].items()}
    assert states == {"loihi2": "measured", "akida": "unavailable", "akida2": "unavailable", "spinnaker": "unavailable"}
    assert verdict["passed"] is content["targets"]["loihi2"]["passed"]
    page = Reader(ported.path("compared", "report.html").read_text())
    assert not page.open and len(page.ids) == len(set(page.ids)) and "chips" in page.ids
    assert "lava <0.10>" in page.words and "left out (AKIDA=no)" in page.words
    assert {"chips_drops.png", "chips_rates.png"} <= {one.name for one in ported.path("compared", "figures").iterdir()}
    text = io.StringIO()
    Console(file=text, width=120).print(table(content))
    assert (
        "Loihi 2" in text.getvalue() and "unavailable" in text.getvalue() and "left out (AKIDA=no)" in text.getvalue()
    )


def test_a_chip_that_was_not_measured_for_this_network_counts_as_failed(params: Params, ported: Workspace) -> None:
    evaluate(params, ported)
    verdict = compare(params, ported)
    assert not verdict["passed"] and "snn-fusion benchmark --target loihi2" in verdict["problems"]["loihi2"]


def test_what_was_compiled_from_another_network_is_not_measured(params: Params, ported: Workspace) -> None:
    file = ported.path("compiled", "loihi2", "compiled.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"graph": "another"}))
    with pytest.raises(BadInput, match=r"compile --target loihi2"):
        benchmark(params, ported, "loihi2")
    assert not ported.path("measured").exists()


def test_a_target_without_its_sdk_is_left_out_with_the_reason(params: Params, ported: Workspace) -> None:
    assert benchmark(params, ported, "akida") == {
        "target": "akida",
        "unavailable": "akida: left out (AKIDA=no)",
        "up_to_date": False,
    }
    assert ported.path("measured", "akida", "stage.json").exists()


def test_a_target_that_there_is_not_is_named_with_those_that_there_are(params: Params, ported: Workspace) -> None:
    with pytest.raises(BadInput, match=r"loihi2, akida, akida2, spinnaker"):
        chip_stage.benchmark(params, ported, "truenorth")


def test_an_artefact_that_lost_spikes_is_seen(params: Params, ported: Workspace) -> None:
    """The comparison can fail: with its readout's weights turned around, the chip loses."""
    folder = ported.path("compiled", "loihi2")
    artefact = target("loihi2").lower(read_program(ported.path("trained", "graph"))[0])
    arrays = {k: -v if k.startswith("readout") and k.endswith("weights") else v for k, v in artefact.arrays.items()}
    save_artefact(folder, Artefact("loihi2", {**artefact.meta, "presentation": SPIKES}, arrays))
    benchmark(params, ported, "loihi2")
    found = json.loads(ported.path("measured", "loihi2", "measured.json").read_text())
    assert min(one["agreement"] for one in found["fidelity"]["clean"].values()) < 0.5
