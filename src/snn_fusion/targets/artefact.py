"""A compiled network on disk: artefact.json, arrays.safetensors, and the digest of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from snn_fusion.errors import BadInput
from snn_fusion.targets.contract import Artefact
from snn_fusion.workspace import digest, file_digest, write_atomic

FORMAT = 1
FILES = ("artefact.json", "arrays.safetensors")


def save_artefact(folder: Path, artefact: Artefact) -> str:
    """Write the three files; the same artefact gives the same bytes everywhere. Returns the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"format": FORMAT, "target": artefact.target, **artefact.meta}
    write_atomic(folder / "artefact.json", json.dumps(meta, indent=1, sort_keys=True) + "\n")
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(artefact.arrays.items())}
    write_atomic(folder / "arrays.safetensors", save(arrays))
    write_atomic(folder / "digest", artefact_digest(folder) + "\n")
    return artefact_digest(folder)


def artefact_digest(folder: Path) -> str:
    return digest([[name, file_digest(folder / name)] for name in FILES])


def load_artefact(folder: Path) -> Artefact:
    """Read an artefact and check it against its digest. Raises BadInput naming the file and what is wrong with it."""
    for name in (*FILES, "digest"):
        if not (folder / name).is_file():
            raise BadInput(folder / name, "missing: this is not a whole artefact", "name a folder that `compile` wrote")
    found, said = artefact_digest(folder), (folder / "digest").read_text().strip()
    if found != said:
        raise BadInput(folder / "digest", f"says {said[:12]}, but the files give {found[:12]}", "compile again")
    try:
        meta = json.loads((folder / "artefact.json").read_text())
        arrays = load_file(folder / "arrays.safetensors")
    except (ValueError, SafetensorError) as error:
        raise BadInput(folder, f"not an artefact: {error}", "compile again") from error
    if meta.get("format") != FORMAT:
        raise BadInput(folder / "artefact.json", f"format {meta.get('format')} is not {FORMAT}", "compile again")
    return Artefact(meta["target"], {k: v for k, v in meta.items() if k not in ("format", "target")}, arrays)
