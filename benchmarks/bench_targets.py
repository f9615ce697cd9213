"""Our exact simulators beside the tools that they are held to, on the network in the workspace: same recordings, equal
results checked, one run. `make bench ARGS="--only targets"`, after `make demo`.

Loihi 2: lava-nc's fixed-point processes. SpiNNaker: pyNN.brian2. What is timed of a tool is its run alone, as it says
itself: neither its start nor building the network. Ours is timed whole, on a batch of all examples, as the benchmark
stage has them.
"""

from __future__ import annotations

import shutil
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from snn_fusion.config import load_params
from snn_fusion.network.graph import load_graph
from snn_fusion.targets.artefact import load_artefact
from snn_fusion.targets.compile import target
from snn_fusion.targets.examples import example_samples
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.present import present_samples
from snn_fusion.targets.spinnaker.target import SpiNNaker
from snn_fusion.targets.tune import run_many
from snn_fusion.training.stage import read_training_data
from snn_fusion.workspace import Workspace, project_root

RECORDINGS, ROUNDS, WANTED = 20, 5, 100


def in_lava(artefact, inputs):
    found = Loihi2().in_lava(artefact, inputs)
    return float(found["seconds"]) / RECORDINGS


def in_brian2(artefact, inputs):
    """With generated C where there is a compiler; what it takes to compile, in the first recording, is not counted."""
    codegen = "cython" if shutil.which("gcc") else "numpy"
    return float(np.median(SpiNNaker().in_brian2(artefact, inputs, codegen)["seconds"][1:]))


TOOLS = {"loihi2": ("lava-nc", in_lava), "spinnaker": ("pyNN.brian2", in_brian2)}


def main() -> int:
    params, ws = load_params(project_root() / "params.yaml"), Workspace.default()
    data, graph = read_training_data(params, ws), load_graph(ws.path("trained", "graph"))
    samples = example_samples(data, params.seed)
    shown = Table("chip", "tool", "s a recording", "ours", "ratio", "mismatches", title="exact simulation", box=None)
    slow = 0
    for name, (tool, run) in TOOLS.items():
        chip, artefact = target(name), load_artefact(ws.path("compiled", name))
        inputs = present_samples(artefact.meta["presentation"], data, samples, graph)
        some = {key: values[:RECORDINGS] for key, values in inputs.items()}
        theirs, found = run(artefact, some), chip.conform(artefact, some)
        n = len(next(iter(inputs.values())))
        ours = best(lambda c=chip, a=artefact, x=inputs: run_many(c, a, x)) / n
        wrong = found.spikes + found.potentials + found.words
        slow += theirs / ours < WANTED or wrong > 0
        cells = f"{theirs:.3f}", f"{1000 * ours:.2f} ms", f"{theirs / ours:.0f}x", f"{wrong:,} of {found.compared:,}"
        shown.add_row(name, tool, *cells)
    Console().print(shown)
    return 1 if slow else 0


def best(work) -> float:
    """Seconds of the median round; the first is not counted."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    sys.exit(main())
