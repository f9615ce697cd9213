"""Loihi 2: our simulator and lava itself agree in every spike and membrane value; what does not fit is refused."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput
from snn_fusion.targets import toolchain
from snn_fusion.targets.artefact import load_artefact, save_artefact
from snn_fusion.targets.contract import dequantised
from snn_fusion.targets.loihi2.lower import check, lower
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.populations import Connection, Population, Program
from snn_fusion.targets.reference import simulate as reference

lava = pytest.mark.skipif(os.environ.get("LOIHI2") == "no", reason="LOIHI2=no")


def weights(source: int, target: int, spread: float, seed: int = 0) -> csr_array:
    return csr_array(np.random.default_rng(seed).standard_normal((source, target)) * spread)


def population(name: str, *incoming: Connection, **more: object) -> Population:
    size = incoming[0].weights.shape[1]
    threshold = np.full(size, more.get("threshold", 1.0))
    return Population(
        name,
        np.full(size, more.get("decay", 0.9)),
        np.full(size, more.get("current_decay", 0.0)),
        np.asarray(more.get("bias", np.zeros(size))),
        threshold,
        incoming,
    )


def readout(source: str, size: int, decay: float = 0.95, delay: int = 0) -> Population:
    one = population("out", Connection(source, weights(size, 4, 0.3, 9), delay), decay=decay)
    return replace(one, threshold=np.full(4, np.inf), spikes=False)


def network(*populations: Population, reset: str = "zero", delay: int = 0) -> Program:
    return Program({"in": 12}, populations, populations[-1].name, 1e-3, reset, delay)


def spikes(n: int = 3, steps: int = 16) -> dict[str, np.ndarray]:
    return {"in": (np.random.default_rng(1).random((n, steps, 12)) < 0.3).astype(np.int32)}


FIRST = population("a", Connection("in", weights(12, 20, 0.5)))
CASES = {
    "feed-forward": network(FIRST, population("b", Connection("a", weights(20, 15, 0.4))), readout("b", 15)),
    "two senses of unlike weights": network(
        FIRST,
        population("b", Connection("in", weights(12, 15, 0.05))),
        population("c", Connection("a", weights(20, 10, 0.6)), Connection("b", weights(15, 10, 0.02))),
        readout("c", 10),
    ),
    "recurrent": network(
        replace(FIRST, incoming=(*FIRST.incoming, Connection("a", weights(20, 20, 0.2, 2), 1))), readout("a", 20)
    ),
    "biases": network(replace(FIRST, bias=np.linspace(-0.2, 0.2, 20)), readout("a", 20)),
    "current decay": network(replace(FIRST, current_decay=np.full(20, 0.7)), readout("a", 20)),
    "delays": network(
        replace(FIRST, incoming=(replace(FIRST.incoming[0], delay=3),)),
        population("b", Connection("a", weights(20, 10, 0.5), 2), Connection("in", weights(12, 10, 0.3, 3))),
        readout("a", 20, delay=5),
    ),
    "neurons without leak": network(replace(FIRST, decay=np.ones(20)), readout("a", 20, decay=1.0)),
    "a readout without memory": network(FIRST, readout("a", 20, decay=0.0)),
}


@lava
@pytest.mark.parametrize("name", CASES)
def test_every_spike_and_membrane_value_is_lavas(name: str) -> None:
    artefact = Loihi2().lower(CASES[name])
    found = Loihi2().conform(artefact, spikes())
    assert (found.spikes, found.potentials) == (0, 0)
    assert found.compared == 3 * 16 * sum(one.size for one in CASES[name])
    assert Loihi2().run(artefact, spikes()).spikes["a"].sum() > 20


@lava
def test_values_that_overflow_wrap_and_saturate_as_in_lava() -> None:
    wild = network(replace(FIRST, threshold=np.full(20, 40.0), decay=np.ones(20)), readout("a", 20, decay=1.0))
    artefact = lower(wild)
    artefact.meta["populations"]["a"]["incoming"][0]["exponent"] = 9
    assert int(Loihi2().run(artefact, spikes()).potential["a"].min()) == 1 - 2**23
    found = Loihi2().conform(artefact, spikes())
    assert (found.spikes, found.potentials) == (0, 0)


def test_a_readout_that_reaches_the_limit_is_no_answer() -> None:
    artefact = lower(CASES["feed-forward"])
    artefact.meta["populations"]["out"]["incoming"][0]["exponent"] = 12
    with pytest.raises(BadInput, match=r"out: its potential reached the chip's limit in \d of 3 recordings"):
        Loihi2().run(artefact, spikes())


@pytest.mark.parametrize("name", [n for n in CASES if n != "neurons without leak"])
def test_the_chip_is_near_the_reference_before_rounding_adds_up(name: str) -> None:
    artefact = lower(CASES[name])
    found, wanted = Loihi2().run(artefact, spikes()), reference(CASES[name], spikes())
    one, on_chip = CASES[name]["a"], artefact.meta["populations"]["a"]
    unit = 2.0**6 / on_chip["scale"]  # a weight is off by at most that, times its connection's power of two
    each = sum(
        c.weights.shape[0] * 2 ** way["exponent"] for c, way in zip(one.incoming, on_chip["incoming"], strict=True)
    )
    steps = 3
    bound = steps * each * unit / (1 - one.current_decay[0]) + 0.5 * unit
    first = dequantised(artefact, "a", found.potential["a"])[:, :steps]
    assert np.abs(first - wanted.potential["a"][:, :steps]).max() < bound
    rates = found.spikes["a"].mean(), wanted.spikes["a"].mean()
    assert abs(rates[0] - rates[1]) < 0.03


def test_the_same_network_gives_the_same_bytes(tmp_path) -> None:
    digests = {save_artefact(tmp_path / str(i), lower(CASES["two senses of unlike weights"])) for i in range(2)}
    assert len(digests) == 1
    loaded = load_artefact(tmp_path / "0")
    before = Loihi2().run(lower(CASES["two senses of unlike weights"]), spikes())
    np.testing.assert_array_equal(Loihi2().run(loaded, spikes()).potential["out"], before.potential["out"])


def test_an_artefact_that_was_changed_is_noticed(tmp_path) -> None:
    save_artefact(tmp_path, lower(CASES["biases"]))
    (tmp_path / "artefact.json").write_text((tmp_path / "artefact.json").read_text().replace('"vth": ', '"vth": 1'))
    with pytest.raises(BadInput, match="digest"):
        load_artefact(tmp_path)


def test_everything_that_the_chip_cannot_do_is_said_at_once() -> None:
    two = FIRST.decay.copy()
    two[3] = 0.5
    odd = network(replace(FIRST, decay=two, threshold=np.linspace(1, 2, 20)), readout("a", 20), reset="subtract")
    assert [v.what for v in check(odd)] == [
        "reset",
        "decay differs between neurons",
        "threshold differs between neurons",
    ]
    with pytest.raises(BadInput, match=r"(?s)a: reset: subtract.*a: decay differs.*0.5 ... 0.9"):
        lower(odd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.full(20, 1e-4)}, "threshold rounds to zero"),
        ({"decay": np.zeros(20)}, "neurons without memory"),
        ({"decay": np.full(20, 0.99999)}, "decay rounds to 1"),
        ({"current_decay": np.full(20, 0.99999)}, "current_decay rounds to 1"),
        ({"bias": np.full(20, 1e4)}, "bias"),
        ({"incoming": (Connection("in", weights(12, 20, 0.5), 80),)}, r"delay from in.*0 ... 62"),
    ],
)
def test_what_the_chip_cannot_hold_is_refused(change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        lower(network(replace(FIRST, **change), readout("a", 20)))


def test_weights_that_round_to_zero_and_currents_that_could_wrap_are_warned_of() -> None:
    mostly = weights(12, 20, 0.5)
    mostly.data[1:] *= 1e-4
    assert any(
        "round to zero" in v.what and v.warning
        for v in check(network(replace(FIRST, incoming=(Connection("in", mostly),)), readout("a", 20)))
    )
    wide = Connection("big", csr_array(np.full((3000, 20), 0.5)))
    program = replace(network(replace(FIRST, incoming=(wide,)), readout("a", 20)), inputs={"big": 3000})
    assert any("all inputs spike in every step" in v.what and v.warning for v in check(program))


def test_a_time_constant_and_biases_that_change_are_warned_of() -> None:
    slow = replace(FIRST, decay=np.full(20, 0.9998), bias=np.full(20, 1e-9))
    said = [v.what for v in check(network(slow, readout("a", 20))) if v.warning]
    assert "time constant of decay" in said and "biases that round to zero" in said


def test_more_than_a_chip_is_refused_for_the_network_as_a_whole() -> None:
    wide = replace(population("a", Connection("in", csr_array((12, 600_000)))), threshold=np.ones(600_000))
    both = network(wide, replace(wide, name="b"), readout("a", 600_000))
    assert [v.layer for v in check(both) if v.what == "cores"] == ["network"]


def test_fractions_are_no_spikes() -> None:
    with pytest.raises(BadInput, match="fractions"):
        Loihi2().run(lower(CASES["biases"]), {"in": np.full((1, 4, 12), 0.5)})


def test_a_toolchain_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(toolchain, "project_root", lambda: tmp_path)
    with pytest.raises(toolchain.ToolchainMissing, match="make toolchains"):
        Loihi2().conform(lower(CASES["biases"]), spikes())


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
    ],
)
def test_a_vendors_process_that_fails_is_a_clear_error(fake, text: str, message: str) -> None:
    fake(text)
    with pytest.raises(toolchain.ToolchainFailed, match=message):
        toolchain.call("loihi2", {"x": np.zeros(1)}, 1)


def test_no_child_of_a_vendors_process_outlives_it(fake, tmp_path) -> None:
    mark = tmp_path / "child.pid"
    fake(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
    )
    with pytest.raises(toolchain.ToolchainFailed):
        toolchain.call("loihi2", {"x": np.zeros(1)}, 20)
    state, patience = Path(f"/proc/{mark.read_text()}/stat"), time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < patience, "the child still runs"
        time.sleep(0.01)
