"""A compiled network on disk: artefact.json, arrays.safetensors, and the digest of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from scipy.sparse import csr_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.contract import Array, Artefact
from snn_fusion.targets.populations import Program
from snn_fusion.workspace import check_seal, files_digest, write_atomic

FORMAT = 1
FILES = ("artefact.json", "arrays.safetensors")


def layout(program: Program, populations: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an artefact's meta that every target has."""
    order = [one.name for one in program]
    what = {"dt": program.dt, "inputs": program.inputs, "output": program.output}
    return {**what, "order": order, "populations": dict(populations)}


def synapse_arrays(prefix: str, rows: csr_array[Any, Any], weights: Array) -> dict[str, Array]:
    """A connection's sparse rows with the chip's whole numbers for its weights, (nnz,)."""
    parts = {"indptr": rows.indptr, "indices": rows.indices, "weights": weights}
    return {f"{prefix}.{part}": values.astype(np.int32) for part, values in parts.items()}


def save_artefact(folder: Path, artefact: Artefact) -> str:
    """Write the three files; the same artefact gives the same bytes everywhere. Returns the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"format": FORMAT, "target": artefact.target, **artefact.meta}
    write_atomic(folder / "artefact.json", json.dumps(meta, indent=1, sort_keys=True) + "\n")
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(artefact.arrays.items())}
    write_atomic(folder / "arrays.safetensors", save(arrays))
    seal = files_digest(folder, FILES)
    write_atomic(folder / "digest", seal + "\n")
    return seal


def load_artefact(folder: Path) -> Artefact:
    """Read an artefact and check it against its digest. Raises BadInput naming the file and what is wrong with it."""
    check_seal(folder, FILES, "artefact", "compile", "compile again")
    try:
        meta = json.loads((folder / "artefact.json").read_text())
        arrays = load_file(folder / "arrays.safetensors")
    except (ValueError, SafetensorError) as error:
        raise BadInput(folder, f"not an artefact: {error}", "compile again") from error
    if meta.get("format") != FORMAT:
        raise BadInput(folder / "artefact.json", f"format {meta.get('format')} is not {FORMAT}", "compile again")
    return Artefact(meta["target"], {k: v for k, v in meta.items() if k not in ("format", "target")}, arrays)
