"""The stage `evaluate`, and the evaluation of any network on any folder of recordings."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_fusion.benchmark.accuracy_table import table, used_line
from snn_fusion.benchmark.conditions import HARD_CONDITIONS
from snn_fusion.benchmark.console import Progress, say, warn_of_encoder
from snn_fusion.benchmark.testset import check_labels
from snn_fusion.config import Params
from snn_fusion.data.folder import list_folder
from snn_fusion.data.manifest import DATA_SET, Row, load_together, read_manifest
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.workspace import Workspace, code_digest, digest, nearest_existing, write_atomic

OTHER_FILE = "name another file, or '-' for standard output"
SECTIONS = ("data", "validation", "encoding", "network", "training")


def evaluate(params: Params, ws: Workspace, out: Path | None = None) -> dict[str, Any]:
    """Test the newly trained network on the workspace's test split.

    Writes evaluated/: evaluation.json, metrics.json, predictions.parquet, report.html and figures/*.png; what is in
    evaluation.json also to `out` ('-': standard output). Nothing is done if network, data, parameters and code are
    those of the last time.
    """
    _check_out(out)
    shown = {"seed": params.seed, **{name: getattr(params, name).model_dump(mode="json") for name in SECTIONS}}
    inputs = {
        "validated": ws.digest("validated", *DATA_SET),
        "trained": ws.digest("trained"),
        "params": digest(shown),
        "code": code_digest("benchmark", "network", "validation", "encoding", "data"),
    }
    result = ws.build("evaluated", inputs, lambda folder: _work(params, shown, ws, folder))
    content = json.loads(ws.path("evaluated", "evaluation.json").read_text())
    _hand_over(content, out)
    return result


def _work(params: Params, shown: dict[str, Any], ws: Workspace, folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from snn_fusion.benchmark.document import document, metrics, predictions
    from snn_fusion.benchmark.evaluate import evaluate_rows
    from snn_fusion.benchmark.pictures import draw, read_history, save_figures
    from snn_fusion.benchmark.report import render
    from snn_fusion.benchmark.used import used_of
    from snn_fusion.network.graph import load_graph

    graph, root = load_graph(ws.path("trained", "graph")), ws.path("recordings")
    with Progress() as progress:
        rows = split_rows(ws)
        evaluation = evaluate_rows(graph, rows, root, params.seed, progress, ws.path("cache", "tested"))
    used = used_of(graph, rows, root)
    content = document(evaluation, graph, "newly trained network", "test split of the workspace", params.seed, used)
    write_atomic(folder / "evaluation.json", _json(content))
    write_atomic(folder / "metrics.json", _json(metrics(content)))
    table = io.BytesIO()
    pq.write_table(predictions(evaluation), table, compression="zstd")
    write_atomic(folder / "predictions.parquet", table.getvalue())
    signals = load_together(root, evaluation.example.row.senses)
    history = read_history(ws.path("trained", "history.csv"))
    pictures = draw(content, history, evaluation.example, signals, graph.encoding)
    write_atomic(folder / "report.html", render(content, pictures, shown))
    save_figures(pictures, folder / "figures")
    return {**summary(content), "report": str(Path("evaluated", "report.html"))}


def evaluate_folder(
    params: Params, ws: Workspace, graph: Path, data: Path | None, out: Path | None = None
) -> dict[str, Any]:
    """Test the network in the folder `graph` on every recording of the folder `data`, whatever its split.

    `data` None: the workspace's test split. Recordings that the network was trained on are kept apart from the others
    (exposure.py). The metrics go to `out` ('-': standard output); the workspace stays as it
    is. Raises BadInput for an unknown label or a folder without recordings, BadRecordings listing what is damaged.
    """
    _check_out(out)
    _check_labels(graph, split_rows(ws) if data is None else list_folder(data))
    from snn_fusion.benchmark.evaluate import Evaluation, evaluate_rows
    from snn_fusion.benchmark.exposure import measured_apart, shown
    from snn_fusion.benchmark.used import used_of
    from snn_fusion.network.graph import load_graph
    from snn_fusion.network.trained_on import trained_on

    loaded = load_graph(graph)
    warn_of_encoder(loaded)
    if data is None:
        rows, root, name = split_rows(ws), ws.path("recordings"), "test split of the workspace"
    else:
        rows, root, name = _folder_rows(data), data, f"every recording of {data.resolve().name}"

    def measure(some: Sequence[Row]) -> Evaluation:
        with Progress() as progress:
            return evaluate_rows(loaded, some, root, params.seed, progress)

    words = (f"graph {loaded.digest[:12]}", name, params.seed)
    content = measured_apart(measure, rows, trained_on(graph, loaded), loaded, words)
    content["used"] = used_of(loaded, rows, root)
    _hand_over(content, out)
    if seen := shown(content):
        say(seen)
    trained = content["trained_on"]
    told = {"accuracy_is_of": trained["accuracy_is_of"], "trained_on": len(trained["ids"])}
    return {**summary(content), **told}


def _check_labels(graph: Path, rows: Sequence[Row]) -> None:
    """Before PyTorch is imported and recordings are read. A graph that is not whole is refused when it is loaded."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        check_labels(rows, json.loads((graph / "graph.json").read_text())["classes"])


def split_rows(ws: Workspace) -> list[Row]:
    """The validated test recordings, and how they were joined. Raises BadInput if there are none."""
    ws.stamp("validated")
    paths = [ws.path("validated", name) for name in DATA_SET]
    rows = [row for path in paths for row in read_manifest(path) if row.split == "test"]
    if not rows:
        raise BadInput(paths[0], "no recording is in the test split", "import some, or change data.split")
    return rows


def _folder_rows(folder: Path) -> list[Row]:
    from snn_fusion.data.folder import read_folder

    rows, damaged = read_folder(folder)
    if damaged:
        raise BadRecordings(folder, damaged, "repair the files, or remove them from the folder")
    return rows


def summary(content: dict[str, Any]) -> dict[str, Any]:
    """The stage's result: what matters of evaluation.json in a few numbers."""
    accuracy = content["accuracy"]
    clean = {view: round(one["value"], 4) for view, one in accuracy["clean"].items()}
    hard = [accuracy[c]["fused"]["value"] for c in HARD_CONDITIONS if "fused" in accuracy.get(c, {})]
    return {
        "accuracy": clean,
        **({"hard_conditions": round(sum(hard) / len(hard), 4)} if hard else {}),
        "recordings": {**content["data"]["recordings"], "fused": content["data"]["fused"]},
        "synthetic": content["data"]["synthetic"],
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _check_out(out: Path | None) -> None:
    """Before the work, not after it."""
    if out is None or str(out) == "-":
        return
    if out.is_dir():
        raise BadInput(f"--json {out}", "is a folder", OTHER_FILE)
    there = nearest_existing(out.absolute().parent)
    if not there.is_dir():
        raise BadInput(f"--json {out}", f"{there} is not a folder", OTHER_FILE)
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"--json {out}", f"{there} cannot be written to", OTHER_FILE)


def _hand_over(content: dict[str, Any], out: Path | None) -> None:
    say(table(content))
    say(used_line(content))
    if str(out) == "-":
        sys.stdout.write(_json(content))
    elif out is not None:
        try:
            write_atomic(out, _json(content))
        except OSError as error:
            raise BadInput(f"--json {out}", f"cannot write: {error.strerror}", OTHER_FILE) from error
