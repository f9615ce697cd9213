"""Loihi 2: our simulator and lava itself agree in every spike and membrane value; what does not fit is refused."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.targets import toolchain
from snn_fusion.targets.artefact import load_artefact, save_artefact
from snn_fusion.targets.contract import dequantised
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.populations import Connection, Program
from snn_fusion.targets.reference import simulate as reference
from snn_fusion.targets.stage import held_to_the_vendor
from tests.targets.programs import CASES, FIRST, network, population, readout, spikes, weights

lava = pytest.mark.skipif(os.environ.get("LOIHI2") == "no", reason="LOIHI2=no")


@lava
def test_values_that_overflow_wrap_and_saturate_as_in_lava() -> None:
    wild = network(replace(FIRST, threshold=np.full(20, 40.0), decay=np.ones(20)), readout("a", 20, decay=1.0))
    artefact = Loihi2().lower(wild)
    artefact.meta["populations"]["a"]["incoming"][0]["exponent"] = 9
    assert int(Loihi2().run(artefact, spikes()).potential["a"].min()) == 1 - 2**23
    found = Loihi2().conform(artefact, spikes())
    assert (found.spikes, found.potentials) == (0, 0)


def test_a_readout_that_reaches_the_limit_is_no_answer() -> None:
    artefact = Loihi2().lower(CASES["feed-forward"])
    artefact.meta["populations"]["out"]["incoming"][0]["exponent"] = 12
    with pytest.raises(BadInput, match=r"out: its potential reached the chip's limit in \d of 3 recordings"):
        Loihi2().run(artefact, spikes())


@pytest.mark.parametrize("name", CASES)
def test_the_chips_potentials_are_the_references_until_a_spike_falls_differently(name: str) -> None:
    artefact = Loihi2().lower(CASES[name], examples=spikes())
    found, wanted = Loihi2().run(artefact, spikes()), reference(CASES[name], spikes())
    same = np.ones((3, 16), bool)  # up to a step in which any neuron of the network differs
    for one in CASES[name]:
        same &= (found.spikes[one.name] == wanted.spikes[one.name]).all(axis=2)
    same = np.logical_and.accumulate(same, axis=1)
    assert same.mean() > 0.9
    for one in CASES[name]:
        off = np.abs(dequantised(artefact, one.name, found.potential[one.name]) - wanted.potential[one.name])
        left = np.minimum(1 / (1 - one.decay[0] + 1e-9), 16) / (1 - one.current_decay[0])
        # A step: half a unit for each sum that is rounded down, what is left of the weights, the potential's rounding.
        unit = 2.0**6 / artefact.meta["populations"][one.name]["scale"]
        assert off[same].max() < left * unit * (2 + len(one.incoming))


@pytest.mark.parametrize(("grid", "threshold"), [(512, 512), (256, 256), (1024, 256)])
def test_a_margin_below_costs_no_weight_its_last_bit(grid: int, threshold: int) -> None:
    """Inhibition down to -224 thresholds leaves 9 bits to a threshold without a margin below, with one only 8."""
    dense = np.full((12, 20), -224 * 0.125 / 12)
    dense[0] += np.arange(20) / grid
    program = network(population("a", Connection("in", csr_array(np.round(dense * grid) / grid))), readout("a", 20))
    artefact = Loihi2().lower(program, examples={"in": np.ones((1, 100, 12), np.int32)})
    assert artefact.meta["populations"]["a"]["vth"] == threshold


def test_the_same_network_gives_the_same_bytes(tmp_path) -> None:
    digests = {
        save_artefact(tmp_path / str(i), Loihi2().lower(CASES["two senses of unlike weights"])) for i in range(2)
    }
    assert len(digests) == 1
    loaded = load_artefact(tmp_path / "0")
    before = Loihi2().run(Loihi2().lower(CASES["two senses of unlike weights"]), spikes())
    np.testing.assert_array_equal(Loihi2().run(loaded, spikes()).potential["out"], before.potential["out"])


def test_an_artefact_that_was_changed_is_noticed(tmp_path) -> None:
    save_artefact(tmp_path, Loihi2().lower(CASES["biases"]))
    (tmp_path / "artefact.json").write_text((tmp_path / "artefact.json").read_text().replace('"vth": ', '"vth": 1'))
    with pytest.raises(BadInput, match="digest"):
        load_artefact(tmp_path)


def test_everything_that_the_chip_cannot_do_is_said_at_once() -> None:
    two = FIRST.decay.copy()
    two[3] = 0.5
    odd = network(replace(FIRST, decay=two, threshold=np.linspace(1, 2, 20)), readout("a", 20), reset="subtract")
    assert [v.what for v in Loihi2().check(odd) if not v.warning] == [
        "reset",
        "decay differs between neurons",
        "threshold differs between neurons",
    ]
    with pytest.raises(BadInput, match=r"(?s)a: reset: subtract.*a: decay differs.*0.5 ... 0.875"):
        Loihi2().lower(odd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.full(20, 1e-6)}, "threshold rounds to zero"),
        ({"decay": np.zeros(20)}, "neurons without memory"),
        ({"decay": np.full(20, 0.99999)}, "decay rounds to 1"),
        ({"current_decay": np.full(20, 0.99999)}, "current_decay rounds to 1"),
        ({"bias": np.full(20, 1e4)}, "bias"),
        ({"incoming": (Connection("in", weights(12, 20, 0.5), 80),)}, r"delay from in.*0 ... 62"),
    ],
)
def test_what_the_chip_cannot_hold_is_refused(change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Loihi2().lower(network(replace(FIRST, **change), readout("a", 20)))


def test_weights_that_round_to_zero_and_currents_that_could_wrap_are_warned_of() -> None:
    mostly = weights(12, 20, 0.5)
    mostly.data[1:] *= 1e-6
    assert any(
        "round to zero" in v.what and v.warning
        for v in Loihi2().check(network(replace(FIRST, incoming=(Connection("in", mostly),)), readout("a", 20)))
    )
    wide = Connection("big", csr_array(np.full((3000, 20), 0.5)))
    program = replace(network(replace(FIRST, incoming=(wide,)), readout("a", 20)), inputs={"big": 3000})
    assert any("all inputs spike in every step" in v.what and v.warning for v in Loihi2().check(program))


def test_a_time_constant_and_biases_that_change_are_warned_of() -> None:
    slow = replace(FIRST, decay=np.full(20, 0.9998), bias=np.full(20, 1e-9))
    said = [v.what for v in Loihi2().check(network(slow, readout("a", 20))) if v.warning]
    assert "time constant of decay" in said and "biases that round to zero" in said


def test_more_than_a_chip_is_refused_for_the_network_as_a_whole() -> None:
    wide = replace(population("a", Connection("in", csr_array((12, 600_000)))), threshold=np.ones(600_000))
    both = network(wide, replace(wide, name="b"), readout("a", 600_000))
    assert [v.layer for v in Loihi2().check(both) if v.what == "cores"] == ["network"]


def test_a_neuron_whose_synapses_fill_more_than_a_core_is_refused() -> None:
    heard = replace(readout("in", 150_000), incoming=(Connection("in", csr_array(np.ones((150_000, 4)))),))
    heard = replace(
        heard, **{name: getattr(heard, name)[:4] for name in ("decay", "current_decay", "bias", "threshold")}
    )
    wide = Program({"in": 150_000}, (heard,), heard.name, 0.001, "zero", 0)
    assert [v.value for v in Loihi2().check(wide) if v.what == "fan-in"] == ["150,000"]


def test_fractions_are_no_spikes() -> None:
    with pytest.raises(BadInput, match="fractions"):
        Loihi2().run(Loihi2().lower(CASES["biases"]), {"in": np.full((1, 4, 12), 0.5)})


def test_a_toolchain_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(toolchain, "project_root", lambda: tmp_path)
    with pytest.raises(toolchain.ToolchainMissing, match="make toolchains"):
        Loihi2().conform(Loihi2().lower(CASES["biases"]), spikes())


def test_one_spike_that_lava_has_otherwise_is_an_error_of_the_stage(monkeypatch) -> None:
    artefact = Loihi2().lower(CASES["feed-forward"])
    ours = Loihi2().run(artefact, spikes())
    after = {}  # as lava shows potentials: after the reset
    for name, one in artefact.meta["populations"].items():
        after[name] = np.where(ours.potential[name] > one["vth"] << 6, 0, ours.potential[name])
    answer = {f"spikes.{k}": v.copy() for k, v in ours.spikes.items()} | {f"potential.{k}": v for k, v in after.items()}
    monkeypatch.setattr(Loihi2, "in_lava", lambda *_: answer)
    assert held_to_the_vendor(Loihi2(), artefact, spikes())["spikes"] == 0
    answer["spikes.a"][1, 3, 7] ^= 1
    with pytest.raises(SnnFusionError, match="loihi2: 1 spikes, 0 potentials and 0 words differ"):
        held_to_the_vendor(Loihi2(), artefact, spikes())


@lava
def test_without_intels_extension_a_board_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("SNN_FUSION_LOIHI2", "board")
    with pytest.raises(toolchain.ToolchainFailed, match="Intel's extension of lava is not installed"):
        Loihi2().conform(Loihi2().lower(CASES["biases"]), spikes())


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A toolchain whose runner is the given text, under this test's own interpreter."""

    def install(text: str) -> None:
        folder = tmp_path / "toolchains" / "loihi2"
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(os.path.realpath("/proc/self/exe"))
        (folder / "run.py").write_text(text)
        monkeypatch.setattr(toolchain, "project_root", lambda: tmp_path)

    return install


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import time; print('warming up', flush=True); time.sleep(60)", "no answer within 1 s\nwarming up"),
        ("raise RuntimeError('no board')", "(?s)ended with 1.*no board"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
        ("open('result.npz', 'w').write('?')", "cannot be read"),
        ("pass", "ended with 0"),
        ("import os; raise OSError(28, os.strerror(28))", "(?s)ended with 1.*No space left on device"),
    ],
)
def test_a_vendors_process_that_fails_is_a_clear_error(fake, text: str, message: str) -> None:
    fake(text)
    with pytest.raises(toolchain.ToolchainFailed, match=message):
        toolchain.call("loihi2", {"x": np.zeros(1)}, 1)


def test_an_answer_that_lacks_something_is_the_toolchains_error(fake) -> None:
    fake("import numpy; numpy.savez('result.npz', something=numpy.zeros(1))")
    with pytest.raises(toolchain.ToolchainFailed, match=r"(?s)loihi2: its answer lacks .*make toolchains ONLY") as no:
        Loihi2().conform(Loihi2().lower(CASES["biases"]), spikes())
    assert no.value.exit_code == 2 and str(copy.copy(no.value)) == str(no.value)


def test_a_command_that_is_terminated_ends_the_vendors_process(fake, tmp_path) -> None:
    mark = tmp_path / "vendor.pid"
    fake(f"import os, time; open({str(mark)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)")
    command = (
        "from pathlib import Path\nimport numpy as np\nfrom snn_fusion import cli\n"
        "from snn_fusion.targets import toolchain\n"
        f"toolchain.project_root = lambda: Path({str(tmp_path)!r})\n"
        "cli.app = lambda: toolchain.call('loihi2', {'x': np.zeros(1)}, 60)\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while not (mark.exists() and mark.read_text().endswith(" ")):
        assert time.monotonic() < patience and process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(20) != 0
    assert not Path("/proc", mark.read_text().strip()).exists()


@pytest.mark.parametrize("session", [False, True])
def test_no_child_of_a_vendors_process_outlives_it(fake, tmp_path, session: bool) -> None:
    mark = tmp_path / "child.pid"
    fake(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
        f"start_new_session={session})\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
    )
    with pytest.raises(toolchain.ToolchainFailed):
        toolchain.call("loihi2", {"x": np.zeros(1)}, 20)
    state, patience = Path(f"/proc/{mark.read_text()}/stat"), time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < patience, "the child still runs"
        time.sleep(0.01)
