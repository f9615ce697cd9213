"""Time of encoding every recording that `snn-fusion import` finds, from nothing, over all cores.

Once as they are, and once with the perturbed copies for training that params.yaml asks for. Wall time, in a workspace
of its own that is removed. Exits 1 if the recordings alone take longer than a minute.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from snn_fusion.config import Params, load_params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.stage import encode_sense
from snn_fusion.workspace import Workspace, project_root, remove_tree

WANTED_S = 60.0


def seconds(params: Params, ws: Workspace) -> float:
    """Encode everything into an empty cache."""
    remove_tree(ws.path("cache"))
    out = ws.path("out")
    out.mkdir(exist_ok=True)
    rows = read_manifest(ws.path("recordings", "manifest.parquet"))
    started = time.monotonic()
    for sense in SENSES:
        encode_sense(sense, rows, params, ws, out)
    return time.monotonic() - started


def main() -> int:
    params = load_params(project_root() / "params.yaml")
    none = params.model_copy(update={"encoding": params.encoding.model_copy(update={"copies": {}})})
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace(Path(folder))
        found = import_recordings(params, ws, source=None, name=None, quarantine=True)
        alone, all_of_it = seconds(none, ws), seconds(params, ws)
    print(f"encoding {found['recordings']:,} recordings: {alone:.1f} s; with perturbed copies {all_of_it:.1f} s")
    print(f"  the recordings in under {WANTED_S:.0f} s: {'yes' if alone < WANTED_S else 'NO'}")
    return 0 if alone < WANTED_S else 1


if __name__ == "__main__":
    sys.exit(main())
