"""One suite for every chip: a program is refused with a reason, or the vendor's own tool gives the same throughout."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.artefact import save_artefact
from snn_fusion.targets.compile import TARGETS
from snn_fusion.targets.contract import Target, dequantised
from snn_fusion.targets.names import NAMES
from snn_fusion.targets.populations import Connection, Program
from snn_fusion.targets.reference import simulate as reference
from snn_fusion.targets.toolchain import ToolchainMissing, installed
from snn_fusion.training.loop import DECAY_GRID, WEIGHT_GRID
from tests.targets.programs import CASES, FIRST, network, population, readout, spikes, weights

PROGRAMS: dict[str, Program] = {
    **CASES,
    "neurons without memory": network(replace(FIRST, decay=np.zeros(20)), readout("a", 20, decay=0.0)),
    "graded neurons": network(
        replace(FIRST, decay=np.zeros(20), threshold=np.full(20, 0.5), levels=15, step=np.full(20, 0.5)),
        readout("a", 20, decay=0.0),
    ),
    "a subtracting reset": network(FIRST, readout("a", 20), reset="subtract"),
}
SPIKING = {"feed-forward", "two senses of unlike weights", "recurrent", "biases", "delays", "a readout without memory"}
RUNS = {  # what each chip takes; all else it must refuse
    "loihi2": {*SPIKING, "current decay", "neurons without leak"},
    "akida": {"neurons without memory", "graded neurons"},
    "akida2": {"neurons without memory", "graded neurons"},
    "spinnaker": {*SPIKING, "neurons without memory"},
}
TAKEN = [(name, case) for name in NAMES for case in PROGRAMS if case in RUNS[name]]
REFUSED = [(name, case) for name in NAMES for case in PROGRAMS if case not in RUNS[name]]


def test_the_suite_knows_every_target() -> None:
    assert tuple(TARGETS) == NAMES == tuple(RUNS)


@pytest.mark.parametrize(("name", "case"), TAKEN)
def test_every_value_is_the_vendors(name: str, case: str) -> None:
    chip, program = with_sdk(name), PROGRAMS[case]
    artefact = chip.lower(program)
    found = chip.conform(artefact, spikes())
    assert (found.spikes, found.potentials, found.words) == (0, 0, 0)
    assert found.compared == 3 * 16 * sum(one.size for one in program)
    assert chip.run(artefact, spikes()).spikes["a"].sum() > 20


@pytest.mark.parametrize(("name", "case"), TAKEN)
def test_what_a_chip_takes_it_runs_as_the_reference_does(name: str, case: str) -> None:
    chip, program = TARGETS[name], PROGRAMS[case]
    artefact = chip.lower(program, spikes())
    found, wanted = chip.run(artefact, spikes()), reference(program, spikes())
    few_bits = name.startswith("akida")  # 4 or 8 a weight, where the others have 15
    for one in program:
        apart = np.abs(found.spikes[one.name] - wanted.spikes[one.name])  # of graded neurons, in levels
        assert (apart > (one.levels > 1)).mean() < (0.05 if few_bits else 0.005)
        off = np.abs(dequantised(artefact, one.name, found.potential[one.name]) - wanted.potential[one.name])
        assert np.median(off) < (0.2 if few_bits else 0.005) * wanted.potential[one.name].std()


@pytest.mark.parametrize("name", ["loihi2", "spinnaker"])
def test_numbers_on_the_grid_that_training_rounds_to_lose_no_spike(name: str) -> None:
    def on_grid(source: int, target: int, spread: float, seed: int) -> Connection:
        exact = np.rint(weights(source, target, spread, seed).toarray() * WEIGHT_GRID) / WEIGHT_GRID
        return Connection({12: "in", 60: "a", 50: "b"}[source], csr_array(exact))

    decay = round(0.87 * DECAY_GRID) / DECAY_GRID
    program = network(
        population("a", on_grid(12, 60, 0.5, 0), decay=decay),
        population("b", on_grid(60, 50, 0.2, 1), decay=decay),
        readout("b", 50),
    )
    inputs = spikes(8, 50)
    found, wanted = TARGETS[name].run(TARGETS[name].lower(program, inputs), inputs), reference(program, inputs)
    for layer in ("a", "b"):
        assert wanted.spikes[layer].sum() > 500
        np.testing.assert_array_equal(found.spikes[layer], wanted.spikes[layer])


@pytest.mark.parametrize(("name", "case"), REFUSED)
def test_what_a_chip_cannot_express_is_refused_with_layer_limit_and_value(name: str, case: str) -> None:
    found = [v for v in TARGETS[name].check(PROGRAMS[case]) if not v.warning]
    assert found and all(v.layer and v.what and v.limit and v.value for v in found)
    with pytest.raises(BadInput) as refused:
        TARGETS[name].lower(PROGRAMS[case])
    assert all(str(v) in str(refused.value) for v in found)


MOSTLY_SMALL = abs(weights(12, 20, 1.0))
MOSTLY_SMALL.data[1:] *= 1e-6
BOTH = {  # a network of which neither kind nor numbers fit: what no chip has, and what each says of the numbers
    "loihi2": (
        {"threshold": np.full(20, 1e-6)},
        {"reset", "threshold rounds to zero", "weights from in that round to zero"},
    ),
    "spinnaker": (
        {"threshold": np.full(20, 1e-10)},
        {"reset", "threshold rounds to zero", "weights from in that round to zero"},
    ),
    "akida": (
        {"threshold": np.full(20, 1e9)},
        {"decay", "potential if all inputs are at their highest", "weights from in that round to zero"},
    ),
}
BOTH["akida2"] = BOTH["akida"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("examples", [None, spikes()])
def test_numbers_are_looked_at_whatever_else_is_wrong(name: str, examples: dict[str, np.ndarray] | None) -> None:
    change, wanted = BOTH[name]
    odd = replace(FIRST, incoming=(Connection("in", MOSTLY_SMALL),), **change)
    program = network(odd, readout("a", 20), reset="subtract")
    found = [v for v in TARGETS[name].check(program, examples) if v.layer == "a"]
    assert wanted <= {v.what for v in found}
    with pytest.raises(BadInput) as refused:
        TARGETS[name].lower(program, examples)
    assert all((str(v) in str(refused.value)) != v.warning for v in found)


@pytest.mark.parametrize("name", ["loihi2", "spinnaker"])
def test_a_network_that_is_too_large_is_run_all_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"snn_fusion.targets.{name}.limits.CORES", 0)
    found = TARGETS[name].check(CASES["feed-forward"], {"in": np.zeros_like(spikes()["in"])})
    assert {("network", "cores"), ("a", "silent")} <= {(v.layer, v.what) for v in found}


@pytest.mark.parametrize(("name", "case"), TAKEN)
def test_an_artefact_is_whole_numbers_and_the_same_every_time(name: str, case: str, tmp_path) -> None:
    made = [TARGETS[name].lower(PROGRAMS[case], spikes()) for _ in range(2)]
    assert len({save_artefact(tmp_path / str(i), one) for i, one in enumerate(made)}) == 1
    assert all(array.dtype.kind in "iu" for array in made[0].arrays.values())


@pytest.mark.parametrize(("name", "case"), TAKEN)
def test_recordings_do_not_know_of_each_other(name: str, case: str) -> None:
    chip, many = TARGETS[name], spikes(5)
    artefact = chip.lower(PROGRAMS[case])
    together = chip.run(artefact, many).potential["out"]
    for i in range(5):
        alone = chip.run(artefact, {"in": many["in"][i : i + 1]}).potential["out"]
        np.testing.assert_array_equal(together[i : i + 1], alone)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", ["missing", "channels", "fractions"])
def test_input_that_a_chip_cannot_take_is_refused(name: str, bad: str) -> None:
    chip = TARGETS[name]
    artefact = chip.lower(PROGRAMS[sorted(RUNS[name])[0]])
    inputs = {
        "missing": {"other": spikes()["in"]},
        "channels": {"in": spikes()["in"][:, :, :5]},
        "fractions": {"in": spikes()["in"] * 0.5},
    }
    with pytest.raises(BadInput, match="in"):
        chip.run(artefact, inputs[bad])


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_that_falls_silent_on_the_examples_is_warned_of(name: str) -> None:
    program = PROGRAMS[sorted(RUNS[name])[0]]
    silent = {"in": np.zeros_like(spikes()["in"])}
    assert ("a", "silent") in [(v.layer, v.what) for v in TARGETS[name].check(program, silent) if v.warning]
    assert ("a", "silent") not in [(v.layer, v.what) for v in TARGETS[name].check(program, spikes())]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_counts_the_same_things_on_every_chip_and_invents_none(name: str) -> None:
    chip = TARGETS[name]
    artefact = chip.lower(PROGRAMS[sorted(RUNS[name])[0]])
    found = {one.metric: one for one in chip.profile(artefact, spikes(), chip.run(artefact, spikes()))}
    assert {"neurons", "synapses", "cores", "latency", "power", "energy", "spikes", "effective ACs"} <= found.keys()
    assert {"effective MACs", "neuron updates", "activation sparsity"} <= found.keys()
    for one in found.values():
        assert (one.value is None) == (one.provenance == "unavailable") and one.source
        assert one.provenance != "measured"  # nothing here is a board


def with_sdk(name: str) -> Target:
    try:
        installed(TARGETS[name].toolchain)
    except ToolchainMissing as missing:
        if os.environ.get(TARGETS[name].toolchain.upper()) == "no" or name.startswith("akida"):
            pytest.skip(str(missing))
        raise
    return TARGETS[name]
