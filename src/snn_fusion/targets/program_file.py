"""A program on disk, e.g. one that was tuned for a chip: program.json, weights.safetensors, and the digest of both."""

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
from snn_fusion.targets.populations import Connection, Population, Program
from snn_fusion.workspace import check_seal, files_digest, write_atomic

FORMAT = 1
FILES = ("program.json", "weights.safetensors")
VECTORS = ("decay", "current_decay", "bias", "threshold")
OPTIONAL = ("step", "origin")


def is_program(folder: Path) -> bool:
    return (folder / FILES[0]).is_file()


def save_program(folder: Path, program: Program, meta: Mapping[str, Any]) -> str:
    """Write the three files; `meta` (JSON) is kept as it is. Returns the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, populations = {}, []
    for one in program:
        for field in (*VECTORS, *OPTIONAL):
            if getattr(one, field) is not None:
                arrays[f"{one.name}.{field}"] = np.ascontiguousarray(getattr(one, field), np.float64)
        for i, c in enumerate(one.incoming):
            weights = c.weights.tocsr()
            arrays |= {
                f"{one.name}.{i}.indptr": weights.indptr.astype(np.int64),
                f"{one.name}.{i}.indices": weights.indices.astype(np.int64),
                f"{one.name}.{i}.weights": np.ascontiguousarray(weights.data, np.float64),
            }
        ways = [{"source": c.source, "delay": c.delay, "shape": list(c.weights.shape)} for c in one.incoming]
        populations.append({"name": one.name, "spikes": one.spikes, "levels": one.levels, "incoming": ways})
    what = {field: getattr(program, field) for field in ("inputs", "output", "dt", "reset", "reset_delay")}
    text = {"format": FORMAT, **what, "populations": populations, "meta": dict(meta)}
    write_atomic(folder / FILES[0], json.dumps(text, indent=1, sort_keys=False) + "\n")
    write_atomic(folder / FILES[1], save(dict(sorted(arrays.items()))))
    seal = files_digest(folder, FILES)
    write_atomic(folder / "digest", seal + "\n")
    return seal


def load_program(folder: Path) -> tuple[Program, dict[str, Any]]:
    """The program and its `meta`, checked against the digest. Raises BadInput naming the file and what is wrong."""
    check_seal(folder, FILES, "program", "tune", "tune again")
    try:
        text = json.loads((folder / FILES[0]).read_text())
        if text["format"] != FORMAT:
            raise BadInput(folder / FILES[0], f"format {text['format']} is not {FORMAT}", "tune again")
        arrays = load_file(folder / FILES[1])
        populations = tuple(_population(one, arrays) for one in text["populations"])
        fields = {field: text[field] for field in ("inputs", "output", "dt", "reset", "reset_delay")}
        return Program(populations=populations, **fields), text["meta"]
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BadInput(folder, f"not a program of this version: {error}", "tune again") from error


def _population(text: Mapping[str, Any], arrays: Mapping[str, Any]) -> Population:
    name = text["name"]
    incoming = tuple(
        Connection(
            way["source"],
            csr_array(
                tuple(arrays[f"{name}.{i}.{part}"] for part in ("weights", "indices", "indptr")),
                shape=tuple(way["shape"]),
            ),
            way["delay"],
        )
        for i, way in enumerate(text["incoming"])
    )
    vectors = {field: arrays[f"{name}.{field}"] for field in VECTORS}
    vectors |= {field: arrays.get(f"{name}.{field}") for field in OPTIONAL}
    return Population(name, **vectors, incoming=incoming, spikes=text["spikes"], levels=text["levels"])
