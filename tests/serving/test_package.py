"""A registered version becomes a Bento that is served with nothing but what it lists, and refuses to be altered."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from snn_fusion.config import Params
from snn_fusion.encoding.encoder import inputs
from snn_fusion.errors import BadInput
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import FILES, initial_generator, save_graph
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import URI
from snn_fusion.serving.package import package
from snn_fusion.serving.packaged import check, load_package, seal
from snn_fusion.serving.requirements import DIRECT, needed
from snn_fusion.serving.sample import as_json, sample
from snn_fusion.serving.serve import GRAPH
from snn_fusion.serving.warm import made
from snn_fusion.workspace import Workspace
from tests.registry.conftest import empty_store, params, put_data, put_evaluation, put_network, takes
from tests.serving.made import CLASSES
from tests.serving.running import STARTS_S, free_port, listening
from tests.serving.signing import Signer

__all__ = ["empty_store", "params", "takes"]  # fixtures
ROOT = Path(__file__).resolve().parents[2]
# What a Bento may consist of. HDF5 and safetensors hold arrays, and run nothing when they are read.
PLAIN = {".py", ".css", ".js", ".html", ".json", ".nir", ".safetensors", ".txt", ".yaml", ".md", ".sh", ".template", ""}

# Imported at the start of the service's processes: what the Bento does not list cannot be imported, nor our checkout.
ONLY_WHAT_IS_LISTED = """
import importlib.metadata, re, sys
listed = set(LISTED) | {"pip", "torch"}
owners = importlib.metadata.packages_distributions()

class Unlisted:
    def find_spec(self, name, path=None, target=None):
        of = {re.sub("[-_.]+", "-", one.lower()) for one in owners.get(name.partition(".")[0], ())}
        if of and not of & listed:
            raise ModuleNotFoundError(f"{name} is not listed", name=name)

sys.meta_path.insert(0, Unlisted())
sys.path[:] = [one for one in sys.path if one != CHECKOUT]
"""


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, takes: Path, params: Params
) -> Iterator[Workspace]:
    """A champion, with its accuracy after each step."""
    ws = Workspace(tmp_path_factory.mktemp("packaged") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(ws.root))
        for name in (URI, "BENTOML_HOME"):
            patch.delenv(name, raising=False)
        ws.path("mlflow").mkdir(parents=True)
        shutil.copyfile(empty_store, ws.path("mlflow", "mlflow.db"))
        put_data(ws, takes)
        put_network(ws, params, seed=1)
        put_evaluation(ws)
        evaluation = ws.path("evaluated", "evaluation.json")
        by_step = {"accuracy_by_step": {"fused": [0.125] * params.encoding.steps}}
        evaluation.write_text(json.dumps(json.loads(evaluation.read_text()) | by_step))
        register(params, ws)
        promote(params, ws)
        yield ws


@pytest.fixture(scope="module")
def packaged(home: Workspace, params: Params) -> dict[str, Any]:
    return package(params, home, "champion")


@pytest.fixture(scope="module")
def bento(packaged: dict[str, Any]) -> Path:
    return Path(packaged["bento"])


@pytest.fixture(scope="module")
def built(bento: Path) -> list[Path]:
    """Its files before it was served, which adds what is compiled."""
    return [path for path in bento.rglob("*") if path.is_file()]


@contextlib.contextmanager
def started(tag: str, home: Workspace, folder: Path, **settings: str) -> Iterator[tuple[str, set[str]]]:
    """The URL of `bentoml serve TAG` with only these settings, and where it listens, all its processes together."""
    env = {
        **{"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder)},
        **{"BENTOML_HOME": str(home.path("bentoml")), "BENTOML_DO_NOT_TRACK": "True"},
        **settings,
    }
    port = free_port()
    command = [str(Path(sys.executable).with_name("bentoml")), "serve", tag, "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _ready(url, process, folder / "log")
        found = listening(psutil.Process(process.pid))
        assert {at for _, at in found} == {port}  # not those of BentoML's supervisor
        yield url, {host for host, _ in found}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_with_keys_a_bento_listens_on_all_addresses_and_asks_for_tokens(
    packaged: dict[str, Any], built: list[Path], home: Workspace, tmp_path: Path
) -> None:
    signer = Signer(tmp_path / "keys").make("old")
    with started(packaged["tag"], home, tmp_path, SNN_FUSION_SERVE_KEYS=str(signer.keys)) as (url, hosts):
        assert hosts == {"0.0.0.0"}
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers=signer.bearer()).status_code == 200


def test_a_bento_answers_with_no_workspace_no_registry_and_only_the_packages_that_it_lists(
    packaged: dict[str, Any], bento: Path, built: list[Path], home: Workspace, params: Params, tmp_path: Path
) -> None:
    listed = re.findall(r"(?m)^([a-z0-9._-]+)==", (bento / "src" / "requirements.txt").read_text())
    only = ONLY_WHAT_IS_LISTED.replace("LISTED", repr(listed), 1).replace("CHECKOUT", repr(str(ROOT / "src")))
    (tmp_path / "sitecustomize.py").write_text(only)
    with started(packaged["tag"], home, tmp_path) as (url, hosts):
        answer = httpx.post(f"{url}/v1/predict", json=as_json(made(params.encoding)), timeout=30)
        shown = httpx.get(f"{url}/v1/models", timeout=30).json()
        runs = httpx.get(f"{url}/api/experiments", timeout=30)
    assert hosts == {"127.0.0.1"}  # BentoML's own default are all addresses
    assert packaged["serve"].endswith(f"bentoml serve {packaged['tag']} --host 127.0.0.1")
    assert answer.status_code == 200, answer.text
    model = {"version": "1", "digest": packaged["graph"], "arithmetic": "float"}
    assert model.items() <= answer.json()["model"].items()
    assert answer.json()["accuracy"] == 0.125
    assert shown["served"]["version"] == "1" and shown["models"][0]["served"]
    assert runs.status_code == 503 and "packaged" in runs.json()["error"]["problem"]


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"not ready:\n{log.read_text()[-3000:]}")


def test_packaging_again_makes_nothing_and_names_the_same_bento(
    packaged: dict[str, Any], home: Workspace, params: Params
) -> None:
    assert package(params, home, "1") == packaged | {"up_to_date": True}
    assert packaged["tag"].startswith("snn-fusion:1-") and not packaged["up_to_date"]


def test_nothing_in_a_bento_can_be_unpickled_and_no_vendors_wheel_is_in_it(bento: Path, built: list[Path]) -> None:
    assert {path.suffix for path in built if path.name not in ("Dockerfile", "LICENSE", "digest")} <= PLAIN
    assert "akida" not in (bento / "src" / "requirements.txt").read_text()


def test_every_package_is_pinned_with_hashes(bento: Path) -> None:
    text = (bento / "src" / "requirements.txt").read_text()
    entries = [one for one in re.split(r"(?m)^(?=\S)", text) if one.strip()]
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry) and "--hash=sha256:" in entry, entry
    assert "airflow" not in text and "mlflow" not in text
    lock = (ROOT / "requirements.lock").read_text()
    assert all(line in lock for line in text.splitlines())


def test_both_pythons_get_what_the_lock_has_for_them() -> None:
    text = needed(ROOT / "requirements.lock")
    for name in set(DIRECT) - {"torch"}:
        of_lock = re.findall(rf"(?m)^{name}==\S+", (ROOT / "requirements.lock").read_text())
        assert of_lock and re.findall(rf"(?m)^{name}==\S+", text) == of_lock


def test_the_dockerfile_is_pinned_and_ends_as_a_user_without_rights(bento: Path) -> None:
    text = (bento / "env" / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    bases = [rest for name, rest in steps if name == "FROM"]
    assert len(bases) == 1 and re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+ AS base-container", bases[0])
    names = [name for name, _ in steps]
    assert set(names) <= {"FROM", "ENV", "ARG", "RUN", "WORKDIR", "COPY", "EXPOSE", "USER", "ENTRYPOINT"}
    assert names.count("ENTRYPOINT") == 1 and names[-1] == "ENTRYPOINT"
    assert [rest for name, rest in steps if name == "USER"] == ["1034"]  # which Kubernetes can tell from root
    runs = [rest for name, rest in steps if name == "RUN"]
    assert not [run for run in runs if re.search(r"sudo|curl|wget|apt|\bcd\b|latest", run)]
    for install in re.findall(r"pip install ([^&]*)", " && ".join(runs)):
        assert "--no-cache-dir" in install and "--no-deps" in install
        assert "--require-hashes -r ./src/requirements.txt" in install or re.search(r" torch==[\d.]+\s*$", install)
    assert all(json.loads(rest) for name, rest in steps if name == "ENTRYPOINT")


def test_the_dockerfile_lints_clean(bento: Path) -> None:
    lint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([lint, bento / "env" / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_file_that_was_changed_or_is_gone_is_refused(bento: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(bento / "src" / "model", model)
    assert load_package(model, "float").version == "1"
    with pytest.raises(BadInput, match=r"holds nothing compiled for loihi2"):
        load_package(model, "loihi2")
    weights = model / "graph" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"weights.safetensors: is not as it was packaged"):
        load_package(model, "float")
    weights.unlink()
    with pytest.raises(BadInput, match=r"weights.safetensors: is missing"):
        check(model)
    weights.write_bytes(whole)
    about = json.loads((model / "package.json").read_text())
    (model / "package.json").unlink()
    seal(model, {"version": "1", "graph": "0" * 64})
    with pytest.raises(BadInput, match=r"graph: is .*, not 000000000000"):
        load_package(model, "float")
    assert about["graph"] != "0" * 64


def test_a_sample_holds_what_the_model_takes_whatever_params_yaml_says(
    home: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [*sample(home, ["imu"])["imu"]["channels"]] == [one.name for one in params.encoding.imu.channels]
    fewer = params.encoding.imu.model_copy(update={"channels": params.encoding.imu.channels[1:3]})
    less = params.model_copy(update={"encoding": params.encoding.model_copy(update={"imu": fewer})})
    monkeypatch.setattr("snn_fusion.serving.sample.load_params", lambda _: less)
    assert len(sample(home, ["imu"])["imu"]["channels"]) == len(params.encoding.imu.channels)  # the champion's
    sizes = {sense: inputs(less.encoding, sense) for sense in ("audio", "imu")}
    network = FusionNetwork(sizes, len(CLASSES), less.network, generator=initial_generator(0))
    save_graph(tmp_path / "other", network, less.encoding, CLASSES, {"seed": 0})
    other = sample(home, [], model=str(tmp_path / "other"))
    assert [*other] == ["audio", "imu"] and [*other["imu"]["channels"]] == ["acc_y", "turn_rate"]
    with pytest.raises(BadInput, match=r"--sense: the network has no events .one of audio, imu"):
        sample(home, ["events"], model=str(tmp_path / "other"))


def test_only_what_is_registered_can_be_packaged(home: Workspace, params: Params) -> None:
    with pytest.raises(BadInput, match=r"no version or alias '9'"):
        package(params, home, "9")


def test_serving_checks_the_same_files_as_the_graph_has() -> None:
    assert GRAPH == FILES
