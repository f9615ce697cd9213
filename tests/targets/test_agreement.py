"""A third party's compiled network answers as the reference does, or it is refused with the layers that do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.targets.agreement import (
    EACH,
    MOST,
    RATES,
    against_reference,
    drawn,
    refuse_deviation,
)
from snn_fusion.targets.compile import TARGETS, compile_graph
from snn_fusion.targets.contract import Artefact, Outputs
from snn_fusion.targets.near_threshold import Decisions
from snn_fusion.targets.populations import Connection
from snn_fusion.targets.reference import simulate
from snn_fusion.targets.trains import trains
from tests.targets.programs import CASES, FIRST, network, population, readout, spikes
from tests.targets.test_conformance import PROGRAMS, TAKEN

PLAIN = CASES["biases"]


@pytest.mark.parametrize(("name", "case"), TAKEN)
def test_every_compile_agrees_with_the_reference_or_is_refused(name: str, case: str, tmp_path: Path) -> None:
    chip, program = TARGETS[name], PROGRAMS[case]
    recordings = drawn(program.inputs)
    artefact = chip.lower(program)
    wanted, found = simulate(program, recordings), chip.run(artefact, recordings)
    assert wanted.spikes["a"].sum() > 100
    share = [(found.spikes[one.name] != wanted.spikes[one.name]).sum() / max(wanted.spikes[one.name].sum(), 1)
             for one in program if one.spikes and one.levels == 1]  # fmt: skip
    try:
        made = compile_graph(name, program, tmp_path / "chip")
    except BadInput as refused:
        assert "deviation from the reference" in str(refused) and "--max-deviation" in str(refused)
        assert not (tmp_path / "chip").exists()
        return
    assert max(one or 0 for one in made["reference"]["deviation"].values()) <= MOST
    if max(share, default=0) > MOST + 1e-6:  # carried on from rounding: said, and never most of the spikes
        assert "carried on from spike to spike" in str(made["warnings"])
        assert max(share) < 0.1


@pytest.mark.parametrize("name", ["loihi2", "spinnaker"])
@pytest.mark.parametrize("case", ["feed-forward", "biases", "delays"])
def test_chips_of_many_bits_agree_on_examples(name: str, case: str, tmp_path: Path) -> None:
    found = compile_graph(name, CASES[case], tmp_path / "chip", spikes())["reference"]
    assert max(found["deviation"].values()) < 1e-3
    assert (found["recordings"], found["of"], found["differ"]) == (3, "given", 0)


def test_the_energy_of_the_error_is_measured_against_that_of_the_signal() -> None:
    chip = TARGETS["loihi2"]
    artefact, wanted = chip.lower(PLAIN, spikes()), simulate(PLAIN, spikes())
    scale = artefact.meta["populations"]["out"]["scale"]
    exact = Outputs(dict(wanted.spikes), {name: one * artefact.meta["populations"][name]["scale"]
                                          for name, one in wanted.potential.items()})  # fmt: skip
    assert against_reference(PLAIN, artefact, spikes(), lambda *_: exact)["deviation"] == {"a": 0, "out": 0}
    flipped, moved = wanted.spikes["a"].copy(), wanted.potential["out"] + 0.1 * wanted.potential["out"].std()
    flipped[1, 3, :4] = 1 - flipped[1, 3, :4]
    off = Outputs({**wanted.spikes, "a": flipped}, {**exact.potential, "out": moved * scale})
    found = against_reference(PLAIN, artefact, spikes(), lambda *_: off)
    assert found["spikes"] < 200  # of so few, what differs counts as of 200
    assert found["deviation"]["a"] == 4 / 200 and found["differ"] == 4
    assert found["deviation"]["out"] == pytest.approx(0.01, abs=1e-6)


def test_a_layer_that_nothing_makes_spike_is_not_judged_unless_the_chip_spikes() -> None:
    quiet = network(replace(FIRST, threshold=np.full(20, 100.0)), readout("a", 20))
    chip = TARGETS["loihi2"]
    artefact = chip.lower(quiet)
    found = chip.run(artefact, spikes())
    deviation = against_reference(quiet, artefact, spikes(), lambda *_: found)["deviation"]
    assert deviation == {"a": None, "out": None}
    with pytest.raises(
        BadInput, match=r"(?s)a: deviation.*none of the recordings.*out: deviation.*none of the recordings"
    ):
        refuse_deviation("loihi2", deviation, MOST)
    assert [one.split(":")[0] for one in refuse_deviation("loihi2", deviation, 1.0)] == ["a", "out"]
    found.spikes["a"][0, 0, :3] = 1
    assert against_reference(quiet, artefact, spikes(), lambda *_: found)["deviation"]["a"] == 3 / 200


def test_a_layer_that_few_spikes_do_not_move_is_judged_by_denser_and_longer_recordings(tmp_path: Path) -> None:
    slow = network(replace(FIRST, threshold=np.full(20, 40.0), decay=np.full(20, 4095 / 4096)), readout("a", 20))
    made = compile_graph("loihi2", slow, tmp_path / "chip", max_deviation=1.0)["reference"]
    assert made["recordings"] == 64 + 32 and None not in made["deviation"].values()


def test_trains_are_long_and_sparse_and_always_the_same() -> None:
    one, again = trains(PLAIN)["in"], trains(PLAIN)["in"]
    np.testing.assert_array_equal(one, again)
    assert one.shape[1:] == (1000, 12) and one.max() == 1
    rates = one.mean(axis=(1, 2))
    assert rates.min() < 0.002 and 0.15 < rates.max() < 0.4
    large = replace(PLAIN, inputs={"in": 3}, populations=(population("a", Connection("in", csr_array((3, 60_000)))),))
    assert trains(large)["in"].shape == (24, 50, 3)  # a network this large gets fewer and shorter ones


@pytest.mark.parametrize(("reset", "again"), [("zero", 1), ("subtract", 0)])
def test_decisions_close_to_the_threshold_count_only_while_chip_and_reference_are_in_step(reset, again: int) -> None:
    one = population("a", Connection("in", csr_array(np.eye(12)[:, :1])))
    u = np.array([[0.5, 0.998, 1.002, 0.9999, 0.998]])[..., None]  # 0.9999 is closer than rounding
    wanted, rounded = u > 1, np.full(u.shape, 1e-3)
    early = np.array([[0, 1, 1, 0, 1]])[..., None]  # wrong in step 1; both spike in step 2
    for fired, close, wrong in ((wanted, 3, 0), (early, 1 + again, 1 + again)):
        found = Decisions()
        found.add(one, reset, fired, wanted, u, rounded)
        assert (found.close, found.wrong) == (close, wrong)
    memoryless = replace(one, decay=np.zeros(1))
    found.add(memoryless, "zero", early, wanted, u, rounded)
    assert (found.close, found.wrong) == (1 + again + 3, 1 + again + 2)


def test_rounding_excuses_no_more_than_a_64th_of_the_threshold() -> None:
    one = population("a", Connection("in", csr_array(np.eye(12)[:, :1])))
    u = np.array([[[0.99], [0.98]]])  # (1, 2, 1)
    found = Decisions()
    found.add(replace(one, decay=np.zeros(1)), "zero", u > 0, u > 1, u, np.full(u.shape, 0.5))
    assert (found.close, found.wrong) == (1, 1)


def test_recordings_that_do_not_fit_into_memory_together_are_run_one_after_the_other(monkeypatch) -> None:
    chip, at_once = TARGETS["loihi2"], []
    artefact = chip.lower(PLAIN, spikes())

    def run(one: Artefact, inputs: Mapping[str, np.ndarray]) -> Outputs:
        at_once.append(len(next(iter(inputs.values()))))
        return chip.run(one, inputs)

    whole = against_reference(PLAIN, artefact, spikes(), run)
    monkeypatch.setattr("snn_fusion.targets.agreement.AT_ONCE", 1)
    assert against_reference(PLAIN, artefact, spikes(), run) == whole
    assert at_once == [3, 1, 1, 1]


def test_layers_beyond_the_limit_are_all_named_with_what_helps() -> None:
    deviation = {"a": 0.006, "b": 0.004, "out": 0.5}
    with pytest.raises(
        BadInput, match=r"(?s)loihi2: does not run.*a: deviation.*0.006 \(at most 0.005\).*out.*0.5"
    ) as no:
        refuse_deviation("loihi2", deviation, MOST, {})
    assert "  b:" not in str(no.value) and "--examples" in str(no.value) and "0011" in str(no.value)
    assert refuse_deviation("loihi2", deviation, 0.5) == []
    with pytest.raises(BadInput, match="b: deviation"):
        refuse_deviation("loihi2", deviation, float("nan"))


def test_what_a_whole_network_carries_on_is_warned_of_and_refused_where_it_is_half_of_the_answer() -> None:
    alone = {"a": 0.0, "b": 0.001}
    assert refuse_deviation("loihi2", alone, MOST, {"a": 0.001, "b": MOST}) == []
    (said,) = refuse_deviation("loihi2", alone, MOST, {"a": 0.001, "b": 0.04})
    assert said.startswith("b: deviation") and "0.04" in said and "examples" in said
    with pytest.raises(BadInput, match=r"b: deviation .*0\.6 \(at most 0\.5\)"):
        refuse_deviation("loihi2", alone, MOST, {"a": 0.001, "b": 0.6})
    assert len(refuse_deviation("loihi2", alone, 1.0, {"a": 2.0, "b": 0.6})) == 1


def test_drawn_recordings_are_spikes_at_several_rates_and_always_the_same() -> None:
    one, again = drawn({"in": 4000, "more": 3}), drawn({"in": 4000, "more": 3})
    assert one["in"].shape == (64, 50, 4000) and one["more"].shape == (64, 50, 3)
    np.testing.assert_allclose(one["in"].mean(axis=(1, 2)), np.repeat(RATES, EACH), rtol=0.05)
    assert all((again[name] == values).all() and values.max() == 1 for name, values in one.items())


@pytest.fixture
def coarse(tmp_path: Path) -> list[object]:
    """A network of weights that 4 bits do not hold, and how it is compiled for such a chip."""
    rng = np.random.default_rng(0)
    nodes = {
        "in": nir.Input(np.array([12])),
        "w": nir.Linear(rng.standard_normal((10, 12))),
        "fire": nir.Threshold(np.full(10, 0.5)),
        "out": nir.Output(np.array([10])),
    }
    nir.write(tmp_path / "coarse.nir", nir.NIRGraph(nodes, [("in", "w"), ("w", "fire"), ("fire", "out")]))
    np.savez(tmp_path / "in.npz", spikes=rng.random((5, 20, 12)) < 0.3)
    how = ["--target", "akida", "--dt", 0.001, "--reset", "zero", "--reset-delay", 0, "--out", tmp_path / "chip"]
    return ["compile", "--graph", tmp_path / "coarse.nir", *how]


def test_the_command_refuses_what_deviates_writes_nothing_and_takes_a_limit(
    coarse: list[object], tmp_path: Path
) -> None:
    def call(*arguments: object):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    refused = call(*coarse)
    assert isinstance(refused.exception, BadInput) and refused.exception.exit_code == 2
    assert "fire: deviation from the reference" in str(refused.exception)
    assert not (tmp_path / "chip").exists()
    for examples, of, recordings in ([], "drawn", 64), (["--examples", tmp_path / "in.npz"], "given", 5):
        found = json.loads(call(*coarse, *examples, "--max-deviation", 1, "--json").stdout)["reference"]
        assert (found["of"], found["recordings"]) == (of, recordings)
        assert MOST < found["deviation"]["fire"] <= 1 and 0 < found["differ"] < found["spikes"]
    alone = call("compile", "--target", "akida", "--max-deviation", 1)
    assert "belongs to --graph" in str(alone.exception)
    np.savez(tmp_path / "in.npz", spikes=np.zeros((0, 20, 12)))
    assert "spikes: are none" in str(call(*coarse, "--examples", tmp_path / "in.npz").exception)


def test_weights_on_the_chips_grid_agree_exactly(tmp_path: Path) -> None:
    whole = csr_array(np.random.default_rng(0).integers(-7, 8, (12, 20)) * 1.0)
    first = replace(FIRST, decay=np.zeros(20), incoming=(Connection("in", whole),))
    made = replace(network(first), output="a")
    for name in ("akida", "akida2", "spinnaker"):
        assert compile_graph(name, made, tmp_path / name)["reference"]["deviation"] == {"a": 0}
