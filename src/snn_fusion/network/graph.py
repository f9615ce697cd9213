"""The graph: what leaves training, as a folder of graph.nir, graph.json, weights.safetensors and digest.

NIR holds topology, weights and neuron parameters, but neither the step's duration nor the reset's kind and delay, nor
the readout's rule, nor the encoder. Those are in graph.json, and a graph without it is refused. docs/graph.md lists
the fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from snn_fusion.config import EncodingParams, NetworkParams
from snn_fusion.encoding.encoder import encoder_version
from snn_fusion.encoding.encoder import inputs as input_channels
from snn_fusion.errors import BadInput
from snn_fusion.network.fusion import JOINT, READOUT, FusionNetwork
from snn_fusion.workspace import check_seal, file_digest, files_digest, write_atomic

FORMAT = 1
FILES = ("graph.nir", "graph.json", "weights.safetensors")


@dataclass(frozen=True)
class Graph:
    """A trained network with all that is needed to use it. `meta` is graph.json."""

    network: FusionNetwork
    encoding: EncodingParams
    classes: tuple[str, ...]
    digest: str
    weights_digest: str
    meta: Mapping[str, Any]


def save_graph(
    folder: Path,
    network: FusionNetwork,
    encoding: EncodingParams,
    classes: Sequence[str],
    training: Mapping[str, Any],
) -> str:
    """Write the four files into `folder`; `training` (commit, data digest, seed ...) goes into graph.json.

    Returns the digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    nir.write(str(folder / "graph.nir"), to_nir(network, encoding.step_ms / 1000))
    meta = {
        "format": FORMAT,
        "dt_ms": encoding.step_ms,
        "steps": encoding.steps,
        "discretisation": "forward Euler: beta = 1 - dt / tau, r = tau / dt",
        "reset": {"mechanism": "zero", "delay_steps": 0},
        "readout": {"answer": "highest membrane potential at the last step", "tie_break": "lowest class index"},
        "classes": list(classes),
        "layers": {
            name: {"beta": float(beta.detach()), "threshold": None if name == READOUT else network.params.threshold}
            for name, beta in network.beta.items()
        },
        "encoder": {"version": encoder_version(), "params": encoding.model_dump(mode="json")},
        "network": {**network.params.model_dump(mode="json"), "surrogate_slope": network.slope},
        "senses": list(network.senses),
        "weights_sha256": file_digest(folder / "weights.safetensors"),
        "training": dict(training),
    }
    (folder / "graph.json").write_text(json.dumps(meta, indent=1))
    write_atomic(folder / "digest", graph_digest(folder) + "\n")
    return graph_digest(folder)


def graph_digest(folder: Path) -> str:
    """SHA-256 over the graph's files."""
    return files_digest(folder, FILES)


def load_graph(folder: Path) -> Graph:
    """Read a graph and check it against its digest. Raises BadInput naming the file and what is wrong with it."""
    found = check_seal(folder, FILES, "graph", "train", "restore the graph")
    try:
        meta = json.loads((folder / "graph.json").read_text())
        if meta["format"] != FORMAT:
            raise BadInput(folder / "graph.json", f"format {meta['format']} is not {FORMAT}", "use a matching version")
        encoding = EncodingParams.model_validate_json(json.dumps(meta["encoder"]["params"]))
        shape = dict(meta["network"])
        slope = shape.pop("surrogate_slope")
        params = NetworkParams.model_validate_json(json.dumps(shape))
        sizes = {sense: input_channels(encoding, sense) for sense in meta["senses"]}
        network = FusionNetwork(sizes, len(meta["classes"]), params, slope)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except (KeyError, ValueError, ValidationError, SafetensorError, RuntimeError) as error:
        raise BadInput(folder, f"not a graph of this version: {error}") from error
    network.eval()
    return Graph(network, encoding, tuple(meta["classes"]), found, meta["weights_sha256"], meta)


def to_nir(network: FusionNetwork, dt: float) -> nir.NIRGraph:
    """Topology, weights and neurons in NIR's terms; `dt` in seconds. Several edges into a node add up, as in NIR."""
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []

    def neurons(name: str, size: int) -> None:
        beta = float(network.beta[name].detach())
        tau = np.full(size, dt / (1 - beta), np.float32)
        common = {"tau": tau, "r": tau / np.float32(dt), "v_leak": np.zeros(size, np.float32)}
        if name == READOUT:
            nodes[name] = nir.LI(**common)
        else:
            threshold = np.full(size, network.params.threshold, np.float32)
            nodes[name] = nir.LIF(**common, v_threshold=threshold, v_reset=np.zeros(size, np.float32))

    def connect(source: str, weights: str, target: str) -> None:
        node = f"{source}_to_{target}"
        nodes[node] = nir.Linear(weight=np.ascontiguousarray(state[weights].T))
        edges.extend([(source, node), (node, target)])

    for sense in network.senses:
        channels, size = state[f"input.{sense}"].shape
        nodes[f"input_{sense}"] = nir.Input(np.array([channels]))
        neurons(sense, size)
        connect(f"input_{sense}", f"input.{sense}", sense)
        connect(sense, f"joint.{sense}", JOINT)
    neurons(JOINT, network.params.joint)
    neurons(READOUT, state["readout"].shape[1])
    connect(JOINT, "readout", READOUT)
    for name in network.recurrent:
        connect(name, f"recurrent.{name}", name)
    nodes["output"] = nir.Output(np.array([state["readout"].shape[1]]))
    edges.append((READOUT, "output"))
    return nir.NIRGraph(nodes=nodes, edges=edges, type_check=not network.recurrent)


def initial_generator(seed: int) -> torch.Generator:
    """A generator of its own, so that weights do not depend on who else drew random numbers."""
    return torch.Generator().manual_seed(seed)
