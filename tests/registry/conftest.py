"""A workspace as the stages before `register` leave it, of an untrained network and a few synthetic recordings."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snn_fusion.benchmark.conditions import CONDITIONS
from snn_fusion.config import Params, load_params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.imported import SNAPSHOT, Imported, write_files
from snn_fusion.data.manifest import DATA_SET, Row, write_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, load_graph, save_graph
from snn_fusion.registry import tracking
from snn_fusion.targets.names import FAMILY, NAMES
from snn_fusion.workspace import Workspace, digest, remove_tree

ROOT = Path(__file__).resolve().parents[2]
DIGITS = tuple("0123456789")
TEST_RECORDINGS = 400
HISTORY = """epoch,step,loss,accuracy,val_loss,val_accuracy_fused,val_accuracy_audio,rate_joint,seconds
0,10,2.1,0.3,2.0,0.5,0.4,0.11,1.5
1,20,1.2,0.6,1.4,0.8,,0.12,1.4
"""
Mistakes = dict[str, int]
FAMILIES = [name for name in NAMES if name not in FAMILY]


@pytest.fixture(scope="session")
def params() -> Params:
    """Ten long steps and few neurons."""
    whole = load_params(ROOT / "params.yaml")
    encoding = whole.encoding.model_copy(update={"steps": 10, "step_ms": 100.0, "taps": [0, 2]})
    network = whole.network.model_copy(update={"branch": dict.fromkeys(SENSES, 12), "joint": 9})
    return whole.model_copy(update={"encoding": encoding, "network": network})


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as a first run makes it; made once, because that takes seconds."""
    ws = Workspace(tmp_path_factory.mktemp("store"))
    tracking.connect(ws)
    return tracking.database(ws)


@pytest.fixture(scope="session")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 synthetic recordings of three senses."""
    made = tmp_path_factory.mktemp("data") / "takes"
    generate(made, seed=0, recordings_per_label=2)
    return made


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Iterator[Workspace]:
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(tracking.URI, raising=False)
    made = Workspace(tmp_path / "home")
    tracking.database(made).parent.mkdir(parents=True)
    shutil.copyfile(empty_store, tracking.database(made))
    yield made


def put(ws: Workspace, stage: str, work: Callable[[Path], object]) -> None:
    """Put a stage's folder in place, whatever was there."""
    remove_tree(ws.path(stage))
    made_from = {"code": "code of a test"}
    if stage == "validated":
        made_from["recordings"] = ws.digest("recordings")
    if stage == "evaluated":
        made_from |= {"trained": ws.digest("trained"), "validated": ws.digest("validated", *DATA_SET)}

    def build(out: Path) -> dict[str, object]:
        work(out)
        return {}

    ws.build(stage, made_from, build)


def put_data(ws: Workspace, takes: Path, source: str = "lab", labels: Sequence[str] = DIGITS) -> None:
    """recordings/, validated/ and encoded/ with the takes of these labels as one source."""

    def recordings(out: Path) -> None:
        shutil.copytree(takes, out / source)
        (out / "sources.json").write_text(json.dumps({source: {"origin": "a test"}}))

    def validated(out: Path) -> None:
        rows = [_placed(row, source) for row in read_folder(takes)[0] if row.label in labels]
        for name in ("recordings", "joined"):
            write_manifest(out / f"{name}.parquet", rows)
        used = {f"source:{source}": digest(sorted(row.id for row in rows))}
        write_files(out / SNAPSHOT, Imported(tuple(rows), (), {source: {"origin": "a test"}}, used), {})
        (out / "validation.html").write_text("<p>fine</p>")
        (out / "profile.json").write_text('{"schema": 1, "senses": {}}')

    put(ws, "recordings", recordings)
    put(ws, "validated", validated)
    put(ws, "encoded", lambda out: (out / "encoding.json").write_text("{}"))


def _placed(row: Row, source: str) -> Row:
    senses = {s: replace(ref, path=f"{source}/{ref.path}") for s, ref in row.senses.items()}
    return replace(row, id=f"{source}/{row.id}", source=source, senses=senses)


KILLED_AFTER = """
import json, os, pkgutil, signal, sys
from pathlib import Path
from snn_fusion.config import check_params
from snn_fusion.workspace import Workspace

owner, name, stage, root, params = sys.argv[1:]
place = pkgutil.resolve_name(owner)
real = getattr(place, name)

def then_die(*args, **named):
    real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(place, name, then_die)
pkgutil.resolve_name(stage)(check_params(json.loads(params)), Workspace(Path(root)))
"""


def kill_after(owner: str, function: str, stage: str, ws: Workspace, params: Params) -> None:
    """Run `stage` in a process of its own that is killed (SIGKILL) as soon as `owner.function` has returned."""
    command = [sys.executable, "-c", KILLED_AFTER, owner, function, stage, str(ws.root), params.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def put_network(
    ws: Workspace, params: Params, seed: int = 0, commit: str = "unknown", classes: Sequence[str] = DIGITS
) -> None:
    """trained/ with random weights drawn from `seed`."""

    def trained(out: Path) -> None:
        sizes = {sense: inputs(params.encoding, sense) for sense in SENSES}
        network = FusionNetwork(sizes, len(classes), params.network, generator=initial_generator(seed))
        save_graph(out / "graph", network, params.encoding, classes, {"commit": commit, "seed": seed})
        (out / "history.csv").write_text(HISTORY)
        weights = load_graph(out / "graph").weights_digest
        (out / "training.json").write_text(json.dumps({"weights_digest": weights}))

    put(ws, "trained", trained)


def put_evaluation(ws: Workspace, mistakes: Mistakes | None = None, start: int = 0) -> None:
    """evaluated/ in which the fused answer errs on `mistakes[condition]` of 400 recordings, from number `start` on.

    With compared/, as the stage after it would leave it.
    """
    mistakes = mistakes or {}

    def evaluated(out: Path) -> None:
        columns: dict[str, list[str]] = {name: [] for name in ("condition", "sense", "id", "label", "prediction")}
        accuracy = {}
        for condition in (c.name for c in CONDITIONS):
            wrong = {(start + k) % TEST_RECORDINGS for k in range(mistakes.get(condition, 0))}
            for k in range(TEST_RECORDINGS):
                values = (condition, "fused", f"r{k}", str(k % 10), str((k + 1) % 10 if k in wrong else k % 10))
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
            share = 1 - len(wrong) / TEST_RECORDINGS
            accuracy[condition] = {"fused": {"value": share, "low": share, "high": share, "n": TEST_RECORDINGS}}
        pq.write_table(pa.table(columns), out / "predictions.parquet")
        (out / "evaluation.json").write_text(json.dumps({"schema": 1, "accuracy": accuracy}))
        (out / "report.html").write_text("<h1>report</h1>")
        (out / "figures").mkdir()
        (out / "figures" / "accuracy.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    put(ws, "evaluated", evaluated)
    put_comparison(ws)


def put_comparison(ws: Workspace, **targets: object) -> None:
    """compared/ with one target that could not be used, and these."""

    def compared(out: Path) -> None:
        content = {
            "schema": 1,
            "graph": ws.path("trained", "graph", "digest").read_text().strip(),
            "max_drop": 0.005,
            "verdict": {"passed": True, "problems": {}, "waived": {}},
            "targets": {"akida": {"state": "unavailable", "why": "left out (AKIDA=no)"}} | targets,
        }
        (out / "targets.json").write_text(json.dumps(content))
        (out / "report.html").write_text("<h1>report</h1>")

    for stage, names in {"tuned": FAMILIES, "compiled": NAMES, "measured": NAMES}.items():
        for name in names:
            put(ws, f"{stage}/{name}", lambda out: None)
    put(ws, "left_out", lambda out: None)
    put(ws, "compared", compared)


@pytest.fixture
def ready(ws: Workspace, params: Params, takes: Path) -> Workspace:
    """A workspace ready to register."""
    put_data(ws, takes)
    put_network(ws, params)
    put_evaluation(ws)
    return ws
