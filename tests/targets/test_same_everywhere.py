"""The same graph gives the same artefact on every machine: other vector units, kernels, threads and hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from snn_fusion.config import NetworkParams
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, to_nir
from snn_fusion.targets.artefact import save_artefact
from snn_fusion.targets.compile import lowered, read_program, target
from snn_fusion.targets.names import NAMES

ROOT = Path(__file__).resolve().parents[2]
VECTORS = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
MACHINES = {  # each like this one in nothing
    "oldest": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(VECTORS),
        "OPENBLAS_CORETYPE": "Prescott",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
    },
    "without AVX512": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in VECTORS if "512" in name or name == "X86_V4"),
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "2",
        "PYTHONHASHSEED": "2",
    },
}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as ours before training, on no grid; and for Akida one without memory, of linear nodes in a row."""
    folder, rng = tmp_path_factory.mktemp("graphs"), np.random.default_rng(0)
    params = NetworkParams(branch={"audio": 40, "imu": 30}, joint=50, recurrent=["joint"], threshold=1.0)
    network = FusionNetwork({"audio": 80, "imu": 24}, 10, params, generator=initial_generator(0))
    nir.write(folder / "leaky.nir", to_nir(network, 1e-3))
    nodes = {
        "in": nir.Input(np.array([80])),
        "first": nir.Affine(rng.standard_normal((60, 80)), rng.standard_normal(60)),
        "second": nir.Affine(rng.standard_normal((50, 60)), rng.standard_normal(50)),
        "fire": nir.Threshold(np.full(50, 0.5)),
        "third": nir.Linear(rng.standard_normal((10, 50))),
        "last": nir.Threshold(np.full(10, 0.2)),
        "out": nir.Output(np.array([10])),
    }
    nir.write(folder / "memoryless.nir", nir.NIRGraph(nodes, list(zip(list(nodes)[:-1], list(nodes)[1:], strict=True))))
    return folder


def digests(graphs: Path, out: Path) -> dict[str, str]:
    """Of every target's artefact, with examples and without."""
    found = {}
    for name in NAMES:
        graph = graphs / ("memoryless.nir" if name.startswith("akida") else "leaky.nir")
        program, _ = read_program(graph, 1e-3, "zero", 0)
        rng = np.random.default_rng(0)
        examples = {key: (rng.random((8, 30, size)) < 0.15).astype(np.uint8) for key, size in program.inputs.items()}
        for given in (None, examples):
            artefact, _ = lowered(target(name), program, given, {})
            found[f"{name}, {'worst case' if given is None else 'examples'}"] = save_artefact(out / name, artefact)
    return found


def digests_on(machine: dict[str, str], graphs: Path, out: Path) -> dict[str, str]:
    own_cache = {"NUMBA_CACHE_DIR": str(out / "numba")} if "NUMBA_CPU_NAME" in machine else {}
    call = "import json, sys; from pathlib import Path; from tests.targets.test_same_everywhere import digests; "
    call += "print(json.dumps(digests(Path(sys.argv[1]), Path(sys.argv[2]))))"
    done = subprocess.run(
        [sys.executable, "-c", call, graphs, out], cwd=ROOT, env=os.environ | own_cache | machine,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_artefacts_digest_is_the_same_on_every_machine(graphs: Path, tmp_path: Path) -> None:
    wanted = digests(graphs, tmp_path / "here")
    assert len(wanted) == 2 * len(NAMES)
    for name, machine in MACHINES.items():
        assert digests_on(machine, graphs, tmp_path / name) == wanted, name
