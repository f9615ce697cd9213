"""A whole run, with imports between its stages: it ends with the recordings that it began with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.benchmark.chip_stage import benchmark, compare
from snn_fusion.benchmark.speakers import speakers
from snn_fusion.benchmark.stage import evaluate
from snn_fusion.config import Params, check_params
from snn_fusion.data.imported import read_imported
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.stage import encode
from snn_fusion.errors import BadInput
from snn_fusion.registry.lineage import read_data_set
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.versioning import push
from snn_fusion.targets import stage as chips
from snn_fusion.targets.names import NAMES
from snn_fusion.targets.stage import compile_, tune
from snn_fusion.training.stage import train
from snn_fusion.validation.stage import validate
from snn_fusion.workspace import Workspace
from tests.data.small_files import write_own
from tests.registry.conftest import ROOT

SMALL: dict[str, dict[str, Any]] = {
    "data": {"sources": ["lab*"], "validation_share": 0.2},
    "validation": {"max_drift": 100.0, "max_class_ratio": 10.0, "disjoint_subjects": []},
    "encoding": {"steps": 10, "step_ms": 100.0, "taps": [0, 2], "copies": {}},
    "network": {"branch": {"audio": 12, "imu": 12}, "joint": 9},
    "training": {"epochs": 1, "batch": 32, "recordings_per_epoch": 64},
}
CONFORMED = {  # what the vendor's tool would say, were it here
    **{"spikes": 0, "potentials": 0, "compared": 10, "words": 0, "words_compared": 0},
    **{"recordings": 2, "seconds": 0.0, "tool": "none in this test"},
}
Stage = Callable[[Params, Workspace], dict[str, Any]]
CHIP = "loihi2"
LABELS = "i012"  # the first letters of lines: of the heading, and of the labels that are enough here


def of_each_chip(stage: Callable[[Params, Workspace, str], dict[str, Any]], params: Params, ws: Workspace) -> Any:
    """What the stage says of CHIP; the other chips are left out, which it notes."""
    return {name: stage(params, ws, name) for name in NAMES}[CHIP]


STAGES: dict[str, Stage] = {  # of the run, after `validate`; `package` reads the registry alone
    "encode": encode,
    "train": train,
    "evaluate": evaluate,
    "speakers": partial(speakers, skip=True),
    "tune": lambda params, ws: of_each_chip(tune, params, ws),
    "compile": lambda params, ws: of_each_chip(compile_, params, ws),
    "benchmark": lambda params, ws: of_each_chip(benchmark, params, ws),
    "compare": compare,
    "register": register,
    "promote": promote,
    "push": push,
}


def small() -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        raw[section].update(values)
    raw["registry"]["floor"] = {"above_chance": 0.0, "baseline": 0.0}
    raw["targets"] |= {"epochs": 0, "waived": {CHIP: "one epoch makes a network of coin tosses"}}
    return check_params(raw)


@pytest.fixture
def begun(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A run that has validated its recordings: source `lab`."""
    for module in ("encoding.cache", "validation.tables", "validation.plausible", "benchmark.recordings"):
        monkeypatch.setattr(f"snn_fusion.{module}.worker_pool", ThreadPoolExecutor)  # processes take seconds to start
    for name in ("AKIDA", "SPINNAKER"):
        monkeypatch.setenv(name, "no")
    real = chips.installed
    monkeypatch.setattr(chips, "installed", lambda name: "here" if name == CHIP else real(name))
    monkeypatch.setattr(chips, "held_to_the_vendor", lambda *_: dict(CONFORMED))
    generate(tmp_path / "lab", seed=0, recordings_per_label=10)
    table = tmp_path / "lab" / "recordings.csv"
    lines = [line for line in table.read_text().splitlines() if line[0] in LABELS]
    table.write_text("\n".join(lines) + "\n")
    import_recordings(small(), workspace, source=tmp_path / "lab")
    validate(small(), workspace)
    return workspace


def import_meanwhile(ws: Workspace, folder: Path, number: int) -> None:
    """A source that matches `lab*` and was not there, another that no run uses, and `lab` with a recording less."""
    import_recordings(small(), ws, source=write_own(folder / f"lab-{number}"))
    import_recordings(small(), ws, source=write_own(folder / f"other-{number}"))
    table = folder / "lab" / "recordings.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    assert import_recordings(small(), ws, source=folder / "lab")["up_to_date"] is False


def test_a_run_ends_with_the_recordings_that_it_began_with(begun: Workspace, tmp_path: Path) -> None:
    data, began_with = read_data_set(begun), len(read_imported(begun).rows)
    found = {}
    for number, (name, stage) in enumerate(STAGES.items()):
        import_meanwhile(begun, tmp_path, number)
        found[name] = stage(small(), begun)
    assert found["register"]["data_digest"] == found["push"]["data_digest"] == data.digest
    assert found["promote"]["promoted"], found["promote"]["reason"]
    assert read_data_set(begun) == data

    again = {name: stage(small(), begun) for name, stage in STAGES.items() if name not in ("promote", "push")}
    assert {name for name, result in again.items() if not result["up_to_date"]} == set()

    lab = [row for row in read_imported(begun).rows if row.source == "lab"]
    assert len(lab) == began_with - len(STAGES)  # the imports did take place
    with pytest.raises(BadInput, match=r"recordings of lab-10 are bad"):  # which are toys
        validate(small(), begun)  # the next run takes what is imported now
