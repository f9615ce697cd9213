"""SpiNNaker's board, as far as it can be tried without one."""

from __future__ import annotations

import numpy as np
import pytest

from snn_fusion.targets import toolchain
from snn_fusion.targets.spinnaker.lower import lower
from snn_fusion.targets.spinnaker.target import SpiNNaker
from tests.targets.programs import CASES, spikes
from tests.targets.test_spinnaker import vendor


def test_a_board_that_is_named_is_held_to_the_emulator_too(monkeypatch) -> None:
    artefact, asked = lower(CASES["feed-forward"]), []
    ours = SpiNNaker().run(artefact, spikes())
    after = {name: np.where(ours.spikes[name] > 0, 0, one) / 2**15 for name, one in ours.potential.items()}
    board = {f"spikes.{name}": one.copy() for name, one in ours.spikes.items()}
    board |= {f"potential.{name}": one.copy() for name, one in after.items()}

    def answer(_self, _artefact, _inputs, task, how):
        asked.append((task, how.get("machine")))
        return board

    monkeypatch.setattr(SpiNNaker, "_call", answer)
    for count in ("words_that_differ", "parameters_that_differ"):
        monkeypatch.setattr(f"snn_fusion.targets.spinnaker.target.{count}", lambda *_: (0, 5))
    monkeypatch.delenv("SNN_FUSION_SPINNAKER_MACHINE", raising=False)
    without = SpiNNaker().conform(artefact, spikes())
    assert (without.spikes, without.potentials) == (0, 0) and "the board" not in without.tool
    monkeypatch.setenv("SNN_FUSION_SPINNAKER_MACHINE", "https://me:secret@spalloc.example")
    found = SpiNNaker().conform(artefact, spikes())
    assert asked[-1] == ("machine", "https://me:secret@spalloc.example")
    assert (found.spikes, found.potentials, found.compared) == (0, 0, 2 * without.compared)
    assert "the board" in found.tool and "secret" not in found.tool
    board["potential.out"][1, 3, 2] += 2**-15
    assert SpiNNaker().conform(artefact, spikes()).potentials >= 1
    board["spikes.a"][0, 4, 1] ^= 1
    assert SpiNNaker().conform(artefact, spikes()).spikes == 2  # brian2's answer is the same here


@vendor
def test_a_board_that_does_not_answer_is_the_toolchains_error(monkeypatch) -> None:
    monkeypatch.setattr("snn_fusion.targets.spinnaker.target.SECONDS", 60.0)
    monkeypatch.setenv("SNN_FUSION_SPINNAKER_MACHINE", "http://127.0.0.1:9/")
    with pytest.raises(toolchain.ToolchainFailed, match=r"(?s)spinnaker: .*refused"):
        SpiNNaker().measure(lower(CASES["biases"]), spikes())


def test_what_spynnaker_placed_counts_in_place_of_estimates() -> None:
    system = {"x": 0, "y": 0, "neurons": None, "sdram": 900}
    own = [{"x": x, "y": 0, "neurons": 20, "sdram": 50} for x in (0, 0, 1)]
    routing = [{"x": x, "y": 0, "entries": 4} for x in (0, 1)]
    board = {"version": 5, "provenance": "vendor_simulated", "placements": [system, *own], "routing": routing}
    found = {one.metric: (one.value, one.provenance) for one in SpiNNaker().placed({"5": board})}
    values = {"cores": 3, "chips": 2, "memory": 150, "routing entries": 8}
    assert found == {name: (value, "vendor_simulated") for name, value in values.items()}
