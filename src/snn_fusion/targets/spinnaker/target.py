"""SpiNNaker: sPyNNaker's `IF_curr_delta` cores, emulated here to the bit, and held to the data that its own compiler
writes for a board and to pyNN.brian2."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets import toolchain
from snn_fusion.targets.contract import Artefact, Examples, Measurement, Mismatches, Outputs, Rounded, Violation
from snn_fusion.targets.populations import Program
from snn_fusion.targets.spinnaker.check import check
from snn_fusion.targets.spinnaker.conform import close_to_brian2, parameters_that_differ, words_that_differ
from snn_fusion.targets.spinnaker.emulate import emulate
from snn_fusion.targets.spinnaker.inputs import spikes_of
from snn_fusion.targets.spinnaker.lower import lower
from snn_fusion.targets.spinnaker.profile import placed, profile, slowdown_of
from snn_fusion.targets.spinnaker.rounded import rounded

TOOL = "spynnaker 7.4.1, virtual SpiNN-5 board (words); pyNN.brian2 0.13.0 (spikes; potentials within truncation)"
SECONDS = 600.0
BOARD = 5
SPINNAKER2 = (201, 248)
MACHINE = "SNN_FUSION_SPINNAKER_MACHINE"  # a board's address, or the URL of a spalloc server
ON_BOARD = f"the board of {MACHINE} (spikes, potentials)"  # not its URL, which may hold a password


class SpiNNaker:
    name = toolchain = "spinnaker"
    simulator = "s16.15 emulator, which runs the words that sPyNNaker's compiler writes"

    def check(self, program: Program, examples: Examples = None) -> Sequence[Violation]:
        return check(program, examples)

    def lower(self, program: Program, examples: Examples = None) -> Artefact:
        return lower(program, examples)

    def run(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
        return emulate(artefact, inputs).outputs

    def rounded(self, program: Program, artefact: Artefact) -> Mapping[str, Rounded]:
        return rounded(program, artefact)

    def conform(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Mismatches:
        """Every word of the compiled data, and every spike and potential of pyNN.brian2 (potentials within the bound of
        `close_to_brian2`); and of a board, to the bit, where SNN_FUSION_SPINNAKER_MACHINE names one."""
        ours = self.run(artefact, inputs)
        compiled = self._call(artefact, inputs, "compile", _board(BOARD, 1))
        words = compared = 0
        for name in artefact.meta["order"]:
            for count in (words_that_differ, parameters_that_differ):
                wrong, of = count(artefact, name, compiled)
                words, compared = words + wrong, compared + of
        golden = self.in_brian2(artefact, inputs)
        spikes = sum(int((golden[f"spikes.{name}"] != ours.spikes[name]).sum()) for name in artefact.meta["order"])
        apart = sum(
            int((~close_to_brian2(artefact, name, ours, golden[f"potential.{name}"])).sum())
            for name in artefact.meta["order"]
        )
        values = sum(ours.spikes[name].size for name in artefact.meta["order"])
        if not os.environ.get(MACHINE):
            return Mismatches(spikes, apart, values, TOOL, words, compared)
        spikes_there, apart_there = _on_board(artefact, ours, self.measure(artefact, inputs))
        tool = f"{TOOL}; {ON_BOARD}"
        return Mismatches(spikes + spikes_there, apart + apart_there, 2 * values, tool, words, compared)

    def in_brian2(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], codegen: str = "numpy"
    ) -> dict[str, npt.NDArray[Any]]:
        """What pyNN.brian2 makes of it: `spikes.NAME` and `potential.NAME` (n, T, N), and `seconds` of each recording.

        Raises ToolchainFailed, ToolchainMissing.
        """
        return self._call(artefact, inputs, "brian2", {"codegen": codegen})

    def profile(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], outputs: Outputs
    ) -> Sequence[Measurement]:
        return profile(artefact, inputs, outputs)

    def mapping(self, artefact: Artefact, versions: Sequence[int] = (BOARD, *SPINNAKER2)) -> dict[str, Any]:
        """Where sPyNNaker puts the network: on a SpiNN-5 board, and on SpiNNaker 2 boards of one and of 48 chips.

        By the board's version: chips, user cores, placements (chip x, y, core p, bytes of SDRAM), routing entries of
        each chip, keys, and a provenance. That of SpiNNaker 2 is an estimate: the tool places the cores of SpiNNaker 1
        there, and ships no binaries that would run. Raises ToolchainFailed, ToolchainMissing.
        """
        silent = {name: np.zeros((1, 1, size), np.uint8) for name, size in artefact.meta["inputs"].items()}
        found: dict[str, Any] = {}
        for version in versions:
            answer = self._call(artefact, silent, "map", _board(version, 1))
            provenance = "vendor_simulated" if version == BOARD else "estimated"
            found[str(version)] = {**json.loads(str(answer["mapping"])), "provenance": provenance}
        return found

    def placed(self, mapping: Mapping[str, Any]) -> Sequence[Measurement]:
        """Measurements of a virtual SpiNN-5 board, from what `mapping` returned."""
        return placed(mapping[str(BOARD)])

    def measure(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], machine: str | None = None
    ) -> Outputs:
        """The same on a board: `machine`, or what SNN_FUSION_SPINNAKER_MACHINE names. Potentials are those after the
        reset. Raises ToolchainFailed, ToolchainMissing. Not tried: no board was at hand.
        """
        where = machine or os.environ.get(MACHINE)
        if not where:
            raise toolchain.ToolchainMissing(f"spinnaker: no board is named ({MACHINE}=address or URL of spalloc)")
        slowdown = slowdown_of(artefact, inputs, self.run(artefact, inputs))
        found = self._call(artefact, inputs, "machine", {**_board(BOARD, slowdown), "machine": where})
        order = artefact.meta["order"]
        spikes = {name: found[f"spikes.{name}"].astype(np.int32) for name in order}
        return Outputs(spikes, {name: np.rint(found[f"potential.{name}"] * 2**15).astype(np.int32) for name in order})

    def _call(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], task: str, board: Mapping[str, Any]
    ) -> dict[str, npt.NDArray[Any]]:
        sent = spikes_of(inputs, artefact.meta["inputs"])
        job = {"meta": np.array(json.dumps(artefact.meta)), **artefact.arrays, "task": np.array(task)}
        job |= {"board": np.array(json.dumps(board)), **{f"input.{name}": values for name, values in sent.items()}}
        return toolchain.call(self.name, job, SECONDS)


def _on_board(artefact: Artefact, ours: Outputs, board: Outputs) -> tuple[int, int]:
    """Spikes and potentials, these after the reset, that a board has otherwise than the emulator."""
    spikes = potentials = 0
    for name in artefact.meta["order"]:
        after = np.where(ours.spikes[name] > 0, 0, ours.potential[name])
        spikes += int((board.spikes[name] != ours.spikes[name]).sum())
        potentials += int((board.potential[name] != after).sum())
    return spikes, potentials


def _board(version: int, slowdown: int) -> dict[str, Any]:
    return {"version": version, "slowdown": slowdown, "machine": None}
