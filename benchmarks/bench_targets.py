"""Our exact simulators beside the tools that they are held to, on the network in the workspace: same recordings, equal
results checked, one run. `make bench ARGS="--only targets"`, after `make demo`.

Loihi 2: lava-nc's fixed-point processes. SpiNNaker: pyNN.brian2. What is timed of a tool is its run alone, as it says
itself: neither its start nor building the network. Ours is timed whole, on a batch of all examples, as the benchmark
stage has them. Then the stages compile (with 20 recordings through each vendor's tool) and benchmark of every target,
anew, one after the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from engine.machine import describe
from engine.report import markdown
from section import RESULTS, replace, show

from snn_fusion.config import load_params
from snn_fusion.network.graph import load_graph
from snn_fusion.targets.artefact import load_artefact
from snn_fusion.targets.compile import TARGETS, target
from snn_fusion.targets.examples import example_samples
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.present import present_samples
from snn_fusion.targets.spinnaker.target import SpiNNaker
from snn_fusion.targets.tune import run_many
from snn_fusion.training.stage import read_training_data
from snn_fusion.workspace import Workspace, project_root

RECORDINGS, ROUNDS, WANTED, WANTED_S = 20, 5, 100, 300
BEGIN, END = '<!-- targets: make bench ARGS="--only targets --write" -->', "<!-- /targets -->"
HEAD = ["chip", "tool", "the tool, a recording", "ours, a recording", "times", "wanted", "values that differ"]


def in_lava(artefact, inputs):
    found = Loihi2().in_lava(artefact, inputs)
    return float(found["seconds"]) / RECORDINGS


def in_brian2(artefact, inputs):
    """With generated C where there is a compiler; what it takes to compile, in the first recording, is not counted."""
    codegen = "cython" if shutil.which("gcc") else "numpy"
    return float(np.median(SpiNNaker().in_brian2(artefact, inputs, codegen)["seconds"][1:]))


TOOLS = {"loihi2": ("lava-nc", in_lava), "spinnaker": ("pyNN.brian2", in_brian2)}


def exact() -> tuple[list[list[str]], bool]:
    """A row a chip: its simulator beside the tool; and whether all are fast enough and equal."""
    params, ws = load_params(project_root() / "params.yaml"), Workspace.default()
    data, graph = read_training_data(params, ws), load_graph(ws.path("trained", "graph"))
    samples, rows, good = example_samples(data, params.seed), [], True
    for name, (tool, run) in TOOLS.items():
        chip, artefact = target(name), load_artefact(ws.path("compiled", name))
        inputs = present_samples(artefact.meta["presentation"], data, samples, graph)
        some = {key: values[:RECORDINGS] for key, values in inputs.items()}
        theirs, found = run(artefact, some), chip.conform(artefact, some)
        n = len(next(iter(inputs.values())))
        ours = best(lambda c=chip, a=artefact, x=inputs: run_many(c, a, x)) / n
        wrong = found.spikes + found.potentials + found.words
        good = good and theirs / ours >= WANTED and wrong == 0
        times, differ = f"{theirs / ours:.0f}x", f"{wrong:,} of {found.compared:,}"
        rows.append([name, tool, f"{1000 * theirs:.0f} ms", f"{1000 * ours:.2f} ms", times, f"{WANTED}x", differ])
    return rows, good


def stages() -> float:
    """Seconds that compile and benchmark of every target take, in a workspace that has all but their results."""
    from_here, command = Workspace.default().root, str(Path(sys.executable).with_name("snn-fusion"))
    with tempfile.TemporaryDirectory() as folder:
        for one in from_here.iterdir():
            if one.name not in ("compiled", "measured") and not one.name.startswith("."):
                (Path(folder) / one.name).symlink_to(one)
        started, where = time.perf_counter(), {**os.environ, "SNN_FUSION_HOME": folder}
        for name in TARGETS:
            for stage in ("compile", "benchmark"):
                subprocess.run([command, stage, "--target", name], env=where, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


def section(rows: list[list[str]], seconds: float) -> str:
    return (
        "## Exact simulation against the vendors' tools\n\n"
        '    make bench ARGS="--only targets --write"\n\n'
        f"{markdown(HEAD, rows, lambda i: i > 1)}\n\n"
        f"The network above, {RECORDINGS} training recordings through each tool, equal results. Of a tool the run\n"
        "alone is timed, neither start nor building the network; ours whole, in a batch. Compiling for every target\n"
        f"({RECORDINGS} recordings through each vendor's tool) and benchmarking the test set in all conditions, one\n"
        f"target after the other: {seconds:.0f} s (wanted: {WANTED_S} s). On {describe()}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="targets", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/results.md's section")
    options = parser.parse_args()
    rows, good = exact()
    show(HEAD, rows)
    seconds = stages()
    print(f"compile and benchmark of {', '.join(TARGETS)}: {seconds:.0f} s (wanted: {WANTED_S} s)")
    if options.write:
        replace(RESULTS, BEGIN, END, section(rows, seconds))
    return 0 if good and seconds < WANTED_S else 1


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
