"""SpiNNaker: every word, spike and potential is that of the vendor's tools; what does not fit is refused."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput
from snn_fusion.targets import toolchain
from snn_fusion.targets.artefact import load_artefact, save_artefact
from snn_fusion.targets.contract import Artefact, dequantised
from snn_fusion.targets.populations import Connection, Program
from snn_fusion.targets.reference import simulate as reference
from snn_fusion.targets.spinnaker.check import check
from snn_fusion.targets.spinnaker.conform import close_to_brian2, words_that_differ
from snn_fusion.targets.spinnaker.emulate import emulate
from snn_fusion.targets.spinnaker.lower import lower
from snn_fusion.targets.spinnaker.stdfix import decay_of, expk, tau_of
from snn_fusion.targets.spinnaker.target import SpiNNaker
from tests.targets.programs import CASES, FIRST, network, population, readout, spikes, weights

vendor = pytest.mark.skipif(os.environ.get("SPINNAKER") == "no", reason="SPINNAKER=no")
REFUSED = ("current decay", "neurons without leak")
FITTING = {name: case for name, case in CASES.items() if name not in REFUSED}

# Recurrent and delayed connections, a bias, parameters of each neuron's own, several connections from one source.
EVERYTHING = network(
    replace(
        FIRST,
        decay=np.linspace(0, 0.98, 20),
        threshold=np.linspace(0.2, 2, 20),
        bias=np.linspace(-0.1, 0.1, 20),
        incoming=(
            *FIRST.incoming,
            Connection("in", weights(12, 20, 0.2, 3), 2),
            Connection("a", weights(20, 20, 0.2, 2), 1),
        ),
    ),
    population("b", Connection("a", weights(20, 15, 0.4)), Connection("in", weights(12, 15, 0.3), 4)),
    readout("b", 15, decay=0.0, delay=3),
)
# Two cores of neurons, and delays that need an extension: 256 neurons leave 32 slots.
WIDE = network(
    population("a", Connection("in", weights(12, 300, 0.5))),
    population("b", Connection("a", weights(300, 200, 0.05), 40)),
    readout("b", 200),
)


@vendor
@pytest.mark.parametrize(("case", "steps"), [(EVERYTHING, 16), (WIDE, 60)], ids=["everything", "wide and late"])
def test_every_word_spike_and_potential_is_the_vendors(case: Program, steps: int) -> None:
    artefact = SpiNNaker().lower(case)
    found = SpiNNaker().conform(artefact, spikes(steps=steps))
    assert (found.words, found.spikes, found.potentials) == (0, 0, 0)
    assert found.compared == 3 * steps * sum(one.size for one in case)
    assert found.words_compared > sum(len(a) for name, a in artefact.arrays.items() if name.endswith("weights"))
    assert SpiNNaker().run(artefact, spikes(steps=steps)).spikes["b"].sum() > 20


@vendor
def test_the_mapping_says_where_everything_lies_on_the_board_and_on_spinnaker_2() -> None:
    found = SpiNNaker().mapping(lower(CASES["feed-forward"]), (5, 201))
    assert [(v, one["provenance"], one["chips"]) for v, one in found.items()] == [
        ("5", "vendor_simulated", 48),
        ("201", "estimated", 1),
    ]
    for one in found.values():
        ours = {p["vertex"]: p for p in one["placements"] if p["neurons"]}
        assert {name: p["neurons"] for name, p in ours.items()} == {"in": 12, "a": 20, "b": 15, "out": 4}
        assert len({(p["x"], p["y"], p["p"]) for p in one["placements"]}) == len(one["placements"])
        assert ours["a"]["sdram"] > 0 and len({key["key"] for key in one["keys"]}) == 3


def neuron(decay: int, words: list[int], shifts: list[int], threshold: int = 2**31 - 1) -> Artefact:
    """One neuron, and for each word an input channel."""
    one = {"size": 1, "spikes": True, "scale": 1.0, "shifts": shifts, "incoming": [{"source": "in", "delay": 0}]}
    arrays = {
        "a.decay": np.array([decay], np.int32),
        "a.threshold": np.array([threshold], np.int32),
        "a.0.indptr": np.arange(len(words) + 1, dtype=np.int32),
        "a.0.indices": np.zeros(len(words), np.int32),
        "a.0.weights": np.array(words, np.int32),
    }
    return Artefact("spinnaker", {"inputs": {"in": len(words)}, "order": ["a"], "populations": {"a": one}}, arrays)


def trajectory(artefact: Artefact, steps: list[list[int]]) -> tuple[list[int], int]:
    ran = emulate(artefact, {"in": np.array([steps])})
    return ran.outputs.potential["a"][0, :, 0].tolist(), ran.full["a"]


def test_products_round_down_so_a_small_potential_never_leaks_away() -> None:
    # 3 - (1.5 -> 1) = 2; 0 - (-1 -> -1) = 1; 0 - (-0.5 -> -1) = 1
    assert trajectory(neuron(16384, [3], [0, 0]), [[1], [0], [0], [0]])[0] == [2, 1, 1, 1]
    # -3 - (-1.5 -> -2) = -1; 0 - (0.5 -> 0) = 0
    assert trajectory(neuron(16384, [-3], [0, 0]), [[1], [0], [0]])[0] == [-1, 0, 0]


def test_a_spike_resets_and_the_potential_shown_is_that_before() -> None:
    artefact = neuron(16384, [8], [0, 0], threshold=6)
    assert trajectory(artefact, [[1], [1], [1], [1]])[0] == [4, 6, 4, 6]
    assert emulate(artefact, {"in": np.ones((1, 4, 1))}).outputs.spikes["a"].ravel().tolist() == [0, 1, 0, 1]


def test_a_slot_of_the_ring_buffer_stays_at_its_highest() -> None:
    artefact = neuron(0, [40000, 40000, -50000, -50000], [14, 13])
    assert trajectory(artefact, [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]]) == (
        [65535 << 14, -(65535 << 13), (40000 << 14) - (50000 << 13)],
        2,
    )


def test_potentials_beyond_32_bits_wrap_around() -> None:
    # alpha = -65535 * 2^15, V = alpha / 2 = -1073725440; then alpha - V = 3221176320 wraps to -1073790976, and
    # 2147450880 + 536895488 wraps to -1610620928
    assert trajectory(neuron(16384, [-65535, 65535], [15, 15]), [[1, 0], [0, 1]])[0] == [-1073725440, -1610620928]


def test_a_decay_is_the_one_that_the_core_computes() -> None:
    # Arguments and results of expk in the vendor's binary
    wanted = {0: 32768, -1: 32766, -16384: 19874, -40000: 9667, -225955: 33, -340695: 1, -340696: 0}
    assert {x: expk(x) for x in wanted} == wanted
    for decay in (0.0, 0.05, 0.5, 0.9, 0.97, 0.999, 1 - 1 / 32768):
        assert abs(decay_of(tau_of(decay)) / 32768 - decay) <= 1 / 32768


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_chip_is_near_the_reference(name: str, calibrated: bool) -> None:
    artefact = lower(FITTING[name], spikes(8) if calibrated else None)
    found, wanted = SpiNNaker().run(artefact, spikes()), reference(FITTING[name], spikes())
    for one in FITTING[name]:
        assert (found.spikes[one.name] != wanted.spikes[one.name]).mean() < 0.002
        apart = np.abs(dequantised(artefact, one.name, found.potential[one.name]) - wanted.potential[one.name])
        assert np.median(apart) < 2e-3
    assert not any(emulate(artefact, spikes()).full.values())


def test_examples_leave_more_bits_to_the_weights() -> None:
    program = network(population("a", Connection("in", weights(12, 20, 0.5))), readout("a", 20))
    few = {"in": spikes(8)["in"] * (np.arange(12) < 3)}
    scales = [lower(program, examples).meta["populations"]["a"]["scale"] for examples in (None, few)]
    assert scales[1] > 1.5 * scales[0]


def test_the_same_network_gives_the_same_bytes(tmp_path) -> None:
    digests = {save_artefact(tmp_path / str(i), lower(EVERYTHING, spikes(8))) for i in range(2)}
    assert len(digests) == 1
    loaded = load_artefact(tmp_path / "0")
    assert all(a.dtype == np.int32 for a in loaded.arrays.values())
    before = SpiNNaker().run(lower(EVERYTHING, spikes(8)), spikes())
    np.testing.assert_array_equal(SpiNNaker().run(loaded, spikes()).potential["out"], before.potential["out"])


def test_recordings_do_not_know_of_each_other() -> None:
    artefact, many = lower(EVERYTHING), spikes(40)
    together = SpiNNaker().run(artefact, many).potential["out"]
    for i in (0, 31, 32, 39):
        alone = SpiNNaker().run(artefact, {"in": many["in"][i : i + 1]}).potential["out"]
        np.testing.assert_array_equal(together[i : i + 1], alone)


def test_everything_that_the_chip_cannot_do_is_said_at_once() -> None:
    odd = network(
        replace(FIRST, current_decay=np.full(20, 0.5), levels=3, step=np.ones(20), decay=np.ones(20)),
        readout("a", 20, decay=1.0),
        reset="subtract",
    )
    assert [(v.layer, v.what) for v in check(odd) if not v.warning] == [
        ("a", "reset"),
        ("a", "graded neurons"),
        ("a", "current that decays"),
        ("a", "neurons without leak"),
        ("out", "neurons without leak"),
    ]
    with pytest.raises(
        BadInput, match=r"(?s)a: reset: subtract.*a: graded neurons: 3 levels.*out: neurons without leak"
    ):
        lower(odd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.full(20, 1e-10)}, "threshold rounds to zero"),
        ({"decay": np.full(20, 0.99999)}, "decay rounds to 1"),
        ({"incoming": (Connection("in", weights(12, 20, 0.5), 300),)}, r"delay from in.*1 ... 288"),
    ],
)
def test_what_the_chip_cannot_hold_is_refused(change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        lower(network(replace(FIRST, **change), readout("a", 20)))


def test_more_than_a_board_and_more_than_a_core_are_refused() -> None:
    wide = population("a", Connection("in", csr_array((12, 300_000))))
    assert [(v.layer, v.what) for v in check(network(wide)) if not v.warning] == [("network", "cores")]
    tall = csr_array((np.ones(70_000), (np.arange(70_000), np.zeros(70_000, int))), shape=(9_000_000, 20))
    program = replace(
        network(replace(FIRST, incoming=(Connection("big", tall),)), readout("a", 20)), inputs={"big": 9_000_000}
    )
    assert [v.what for v in check(program) if not v.warning] == ["fan-in", "synapses of a core"]


def test_what_numbers_and_examples_show_is_warned_of() -> None:
    mostly = weights(12, 20, 0.5)
    mostly.data[1:] *= 1e-7
    mostly.data[0] = 5
    quiet = network(replace(FIRST, incoming=(Connection("in", mostly),), threshold=np.full(20, 1e3)), readout("a", 20))
    said = [v.what for v in check(quiet, spikes())]
    assert "weights from in that round to zero" in said and "silent" in said
    busy = network(replace(FIRST, threshold=np.full(20, -1e6)), readout("a", 20))
    assert [v.what for v in check(busy, spikes()) if v.layer == "a"][-1:] == ["saturated"]
    slow = network(replace(FIRST, decay=np.full(20, 0.99995)), readout("a", 20))
    assert "time constant of decay" in [v.what for v in check(slow)]
    one = {"in": (np.arange(12) == 0) * np.ones((1, 4, 1), int)}
    assert "sum of a synapse type if all inputs spike at once" in [v.what for v in check(CASES["feed-forward"], one)]
    assert all(v.warning for v in check(quiet, spikes()))
    assert not check(CASES["feed-forward"])


@pytest.mark.parametrize("value", [0.5, 2, -1, np.nan])
def test_other_inputs_than_spikes_are_refused(value: float) -> None:
    with pytest.raises(BadInput, match="other values than 0 and 1"):
        SpiNNaker().run(lower(CASES["biases"]), {"in": np.full((1, 4, 12), value)})
    with pytest.raises(BadInput, match="other values than 0 and 1"):
        lower(CASES["biases"], {"in": np.full((1, 4, 12), value)})


def test_a_word_that_the_tool_wrote_otherwise_is_counted() -> None:
    artefact = lower(CASES["feed-forward"])
    words = artefact.arrays["a.0.weights"]
    source = np.repeat(np.arange(12), np.diff(artefact.arrays["a.0.indptr"]))
    columns = [np.zeros(len(words)), source, artefact.arrays["a.0.indices"], np.ones(len(words)), words]
    table = np.column_stack(columns).astype(np.int64)
    assert words_that_differ(artefact, "a", {"words.a": table[::-1]}) == (0, len(words))
    table[3, 4] += 1
    assert (
        words_that_differ(artefact, "a", {"words.a": table})[0] == 2
    )  # ours that is not there, theirs that is not ours
    assert words_that_differ(artefact, "a", {"words.a": table[:3]})[0] == len(words) - 3


def test_synapses_handed_to_the_tool_in_blocks_make_the_rows_that_they_make_at_once(monkeypatch) -> None:
    monkeypatch.syspath_prepend(toolchain.project_root() / "toolchains" / "spinnaker")
    in_blocks = importlib.import_module("rows").in_blocks

    def whole(_self, row, n_rows, data, most):  # as in the tool
        return [data[row == i][:most].reshape(-1) for i in range(n_rows)]

    row = np.random.default_rng(0).integers(0, 200, 1000).astype(np.uint32)
    row = row[(row != 5) & (row < 190)]  # rows without synapses, the last ones among them
    data = np.arange(4 * len(row)).astype(np.uint8).reshape(-1, 4)
    for n_rows in (0, 1, 64, 150, 200):
        wanted, found = (convert(None, row, n_rows, data, 6) for convert in (whole, in_blocks(whole)))
        assert [a.tolist() for a in found] == [a.tolist() for a in wanted]


def test_a_potential_further_from_brian2_than_truncation_explains_is_counted() -> None:
    artefact = lower(CASES["feed-forward"])
    ours = SpiNNaker().run(artefact, spikes())
    exact = np.where(ours.spikes["a"] > 0, 0, ours.potential["a"]) / 32768
    bound = 32768 / (32768 - artefact.arrays["a.decay"][0])
    assert close_to_brian2(artefact, "a", ours, exact - 0.99 * bound / 32768).all()
    assert not close_to_brian2(artefact, "a", ours, exact - 1.01 * bound / 32768).any()
    assert not close_to_brian2(artefact, "a", ours, exact + 0.01 / 32768).any()


def test_a_profile_gives_every_number_with_its_origin() -> None:
    artefact = lower(CASES["feed-forward"])
    outputs = SpiNNaker().run(artefact, spikes())
    found = {m.metric: m for m in SpiNNaker().profile(artefact, spikes(), outputs)}
    assert (found["neurons"].value, found["cores"].value, found["chips"].value) == (39, 4, 1)
    met = sum(  # each spike, times the synapses of its source
        float(sent.sum((0, 1)) @ np.diff(artefact.arrays[f"{name}.0.indptr"]))
        for name, sent in (("a", spikes()["in"]), ("b", outputs.spikes["a"]), ("out", outputs.spikes["b"]))
    )
    assert found["effective ACs"].value == met / 3
    assert found["latency"].value == pytest.approx(0.019) and found["power"].value == pytest.approx(0.35 + 4 * 0.034)
    assert found["power"].provenance == "estimated" and "0.35 W" in found["power"].source
    assert found["energy"].provenance == "estimated" and "version_spin1.py" in found["energy"].source


def test_a_toolchain_or_a_board_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("SNN_FUSION_SPINNAKER_MACHINE", raising=False)
    with pytest.raises(toolchain.ToolchainMissing, match="SNN_FUSION_SPINNAKER_MACHINE"):
        SpiNNaker().measure(lower(CASES["biases"]), spikes())
    monkeypatch.setattr(toolchain, "project_root", lambda: tmp_path)
    with pytest.raises(toolchain.ToolchainMissing, match="make toolchains"):
        SpiNNaker().conform(lower(CASES["biases"]), spikes())
