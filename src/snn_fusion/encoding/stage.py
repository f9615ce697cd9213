"""The stage `encode`: validated recordings in, one spike store a sense out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_fusion import log_lines
from snn_fusion.config import Params
from snn_fusion.data.manifest import DATA_SET, Ref, Row, read_manifest
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.workspace import Workspace, code_digest, digest


def encode(params: Params, ws: Workspace) -> dict[str, Any]:
    """Encode every validated recording, and perturbed copies of the training ones, to spikes.

    Writes `<sense>.arrow` (columns id, path, label, split, subject, copy, used and the spikes) and `encoding.json`.
    """
    inputs = {
        "validated": ws.digest("validated", *DATA_SET),
        "params": digest(params.encoding, params.seed, sorted(params.network.branch)),
        "code": code_digest("encoding", "data"),
    }

    def work(out: Path) -> dict[str, Any]:
        from snn_fusion.encoding.frame import trained_frame, with_frame

        started = time.monotonic()
        rows = read_manifest(ws.path("validated", "recordings.parquet"))
        code = with_frame(params.encoding, trained_frame(rows, ws.path("recordings")))
        framed = params.model_copy(update={"encoding": code})
        result = {sense: encode_sense(sense, rows, framed, ws, out) for sense in SENSES}
        (out / "encoding.json").write_text(json.dumps(code.model_dump(mode="json"), indent=1))
        print_time(started)
        return {"recordings": result}

    return ws.build("encoded", inputs, work)


def encode_sense(sense: Sense, rows: list[Row], params: Params, ws: Workspace, out: Path) -> dict[str, Any]:
    """Write `<sense>.arrow` into `out`: the rows that have the sense, and the copies of those in the training split."""
    from snn_fusion.encoding.cache import Job, encode_all  # with numba, which a stage with nothing to do does not need
    from snn_fusion.encoding.encoder import channels
    from snn_fusion.encoding.store import write

    described = [
        (row, copy)
        for row in rows
        if sense in row.senses
        for copy in range(1 + (params.encoding.copies.get(sense, 0) if row.split == "train" else 0))
    ]
    jobs = [Job(_in_one_window(row, sense, params), copy) for row, copy in described]
    encoded = encode_all(jobs, sense, params.encoding, params.seed, ws.path("recordings"), ws.path("cache", "encoding"))
    spikes, used = [one for one, _ in encoded], [share for _, share in encoded]
    meta: dict[str, Sequence[Any]] = {
        "id": [row.id for row, _ in described],
        "path": [row.senses[sense].path for row, _ in described],
        "label": [row.label for row, _ in described],
        "split": [row.split for row, _ in described],
        "subject": [row.senses[sense].subject for row, _ in described],
        "copy": [copy for _, copy in described],
        "used": used,
    }
    inputs = channels(params.encoding, sense)
    write(out / f"{sense}.arrow", meta, spikes, inputs, params.encoding.steps)
    total = sum(len(s.index) for s in spikes)
    density = total / max(len(spikes) * params.encoding.steps * inputs, 1)
    of_recordings = [share for (_, copy), share in zip(described, used, strict=True) if not copy and share == share]
    mean = round(sum(of_recordings) / len(of_recordings), 4) if of_recordings else None
    return {"recordings": len(spikes), "channels": inputs, "density": round(density, 4), "used": mean}


def _in_one_window(row: Row, sense: Sense, params: Params) -> tuple[tuple[Sense, Ref], ...]:
    """The sense, then the others of the recording that the network has: where the window begins depends on all."""
    others = [(s, row.senses[s]) for s in SENSES if s != sense and row.has(s) and s in params.network.branch]
    return ((sense, row.senses[sense]), *others)


def print_time(started: float) -> None:
    log_lines.console().print(f"encoded in {time.monotonic() - started:.1f} s", style="dim", highlight=False)
