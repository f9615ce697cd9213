"""DVC on a small real pipeline in a clone: `dvc repro`, `push` and `reproduce` agree with the CLI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.config import load_params
from snn_fusion.data.synthetic import generate
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.dvc_project import dvc
from snn_fusion.registry.tracking import URI
from snn_fusion.strict_yaml import write_yaml
from snn_fusion.workspace import Workspace, remove_tree

# One clone and one `dvc repro` for all of them.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dvc")]
ROOT = Path(__file__).resolve().parents[2]
CLONED = (".dvc", "scripts", "dvc.yaml", ".dvcignore", ".gitignore", "requirements.lock", "pyproject.toml")
NOT_CLONED = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
SMALL: Mapping[str, Mapping[str, Any]] = {
    "data": {"sources": ["lab"], "validation_share": 0.2},
    "validation": {"max_drift": 100.0, "max_class_ratio": 10.0},
    "encoding": {"steps": 10, "step_ms": 100.0, "taps": [0, 2], "copies": {}},
    "network": {"branch": {"audio": 12, "events": 12, "imu": 12}, "joint": 10},
    "training": {"epochs": 2, "batch": 16, "recordings_per_epoch": 64},
}


class Checkout:
    """A clone of this project with small parameters and recordings of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.ws = root, Workspace(root / "workspace")
        self.env = {k: v for k, v in os.environ.items() if k not in ("SNN_FUSION_HOME", URI)}
        self.env |= {"PYTHONPATH": str(root / "src"), "DVC_NO_ANALYTICS": "1", "COLUMNS": "200"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.root, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *command: str) -> str:
        process = self.start(*command)
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        return out

    def cli(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-c", "from snn_fusion.cli import main; main()", *arguments)

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def changes(self) -> str:
        return self.run("git", "status", "--porcelain")

    def weights(self) -> str:
        return str(json.loads(self.ws.path("trained", "training.json").read_text())["weights_digest"])


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data") / "lab"
    generate(made, seed=0, recordings_per_label=8)
    return made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, takes: Path) -> Checkout:
    """The clone, after one `dvc repro`."""
    root = tmp_path_factory.mktemp("clone") / "checkout"
    root.mkdir()
    for name in CLONED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=NOT_CLONED)
        else:
            shutil.copyfile(source, root / name)
    (root / "src").symlink_to(ROOT / "src")  # not a copy: what numba compiled is kept beside the source
    (root / "dvc-options.yaml").write_text("speakers: skip\n")  # eight trainings
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        content[section].update(values)
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    (root / ".venv").symlink_to(sys.prefix)
    made = Checkout(root)
    made.run("git", "init", "--quiet")
    made.run("git", "add", "--all")
    made.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "clone")
    process = made.cli("import", "--from", str(takes), "--name", "lab")
    assert process.wait() == 0
    made.dvc("repro")
    return made


def test_a_second_dvc_repro_does_nothing(checkout: Checkout) -> None:
    before = checkout.weights(), (checkout.root / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date" in checkout.dvc("repro")
    assert (checkout.weights(), (checkout.root / "dvc.lock").read_bytes()) == before


def test_metrics_and_plots_of_dvc_yaml_are_there(checkout: Checkout) -> None:
    shown = json.loads(checkout.dvc("metrics", "show", "--json"))
    metrics = shown[""]["data"]["workspace/evaluated/metrics.json"]["data"]
    assert 0 <= metrics["accuracy"]["clean"]["fused"] <= 1
    assert (checkout.ws.path("trained", "history.csv")).read_text().startswith("epoch,")
    header = checkout.ws.path("trained", "history.csv").read_text().splitlines()[0].split(",")
    for plot in yaml.safe_load((checkout.root / "dvc.yaml").read_text())["plots"]:
        (settings,) = plot.values()
        assert set(settings["y"]["workspace/trained/history.csv"]) <= set(header)


@pytest.fixture(scope="module")
def pushed(checkout: Checkout) -> dict[str, Any]:
    """What `push` says; it is run twice at once."""
    before = checkout.changes()
    both = [checkout.cli("push", "--json") for _ in range(2)]
    results = []
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, err
        results.append(json.loads(out))
    assert results[0]["lock"] == results[1]["lock"]
    assert checkout.changes() == before  # dvc.lock of `dvc repro`, and nothing else
    return dict(results[0])


def test_the_lock_that_was_pushed_is_the_one_of_dvc_repro(checkout: Checkout, pushed: dict[str, Any]) -> None:
    recorded = yaml.safe_load(Path(pushed["lock"]).read_text())["stages"]
    assert recorded == yaml.safe_load((checkout.root / "dvc.lock").read_text())["stages"]
    assert recorded["import"]["outs"][0]["md5"] == pushed["recordings_md5"]


def test_the_cli_rebuilds_the_weights_of_dvc_repro_from_the_remote_alone(
    checkout: Checkout, pushed: dict[str, Any]
) -> None:
    before = checkout.changes()
    remove_tree(checkout.ws.path("dvc", "cache"))
    process = checkout.cli("reproduce", pushed["version"], "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["same_weights"] and result["differences"] == {}
    assert result["weights_digest"] == checkout.weights()
    assert result["rebuilt_with"].startswith("commit ")
    assert not checkout.ws.path("reproduce", pushed["version"]).exists()
    assert checkout.changes() == before


def test_dvc_refuses_a_params_yaml_that_is_not_whole_and_takes_it_once_written_out(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "dvc-options.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "base.yaml")
    (tmp_path / "params.yaml").write_text("extends: base.yaml\nseed: 1\n")
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    with pytest.raises(SnnFusionError, match=r"cannot redefine 'extends' .* already exists in 'params.yaml'"):
        dvc(tmp_path, "status")
    (tmp_path / "params.yaml").write_text(write_yaml(load_params(tmp_path / "params.yaml")))
    assert "changed deps" in dvc(tmp_path, "status", "compare")


def test_a_disk_that_dvc_fills_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ERROR: unexpected error - [Errno 28] No space left on device: 'x'\n" + "more\n" * 1000
    failed = subprocess.CompletedProcess([], 255, "", said)
    monkeypatch.setattr("snn_fusion.registry.dvc_project.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(BadInput, match=r"cannot write: No space left on device \(free some space"):
        dvc(tmp_path, "commit")


def test_recordings_that_are_gone_from_the_remote_are_an_error(checkout: Checkout, pushed: dict[str, Any]) -> None:
    remove_tree(checkout.ws.path("dvc", "cache"))
    remote = checkout.ws.path("dvc", "remote")
    remote.rename(remote.with_name("away"))
    try:
        process = checkout.cli("reproduce", pushed["version"])
        _, err = process.communicate()
        assert process.returncode == 1 and "dvc pull failed" in err
    finally:
        remove_tree(remote)
        remote.with_name("away").rename(remote)
