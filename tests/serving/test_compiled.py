"""What a chip's arithmetic is run from: the artefact that was registered with the version, else the workspace's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snn_fusion.errors import BadInput
from snn_fusion.registry.chip_runs import PARENT
from snn_fusion.registry.tracking import URI, connect
from snn_fusion.registry.versions import Version
from snn_fusion.serving.compiled import compiled
from snn_fusion.workspace import Workspace
from tests.registry.conftest import empty_store

__all__ = ["empty_store"]  # fixture
SERVED, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def ws(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.delenv(URI, raising=False)
    made = Workspace(tmp_path / "home")
    made.path("mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, made.path("mlflow", "mlflow.db"))
    yield made


@pytest.fixture
def version(ws: Workspace, tmp_path: Path) -> Version:
    """With an artefact for Loihi 2, and a run of SpiNNaker that failed."""
    client = connect(ws)
    experiment = client.create_experiment("chips", artifact_location=(tmp_path / "artefacts").as_uri())
    parent = client.create_run(experiment).info.run_id
    for target, state in (("loihi2", "measured"), ("spinnaker", "failed")):
        run = client.create_run(experiment, tags={PARENT: parent, "target": target, "state": state}).info.run_id
        client.log_artifacts(run, str(artefact(tmp_path / target, SERVED)), "artefact")
    return Version("fusion", "1", parent, {"graph_digest": SERVED})


def artefact(folder: Path, graph: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "compiled.json").write_text(json.dumps({"graph": graph}))
    return folder


def graph_of(folder: Path) -> str:
    return str(json.loads((folder / "compiled.json").read_text())["graph"])


def test_what_was_registered_is_served_after_the_workspace_compiled_another_network(ws, version) -> None:
    artefact(ws.path("compiled", "loihi2"), OTHER)
    assert graph_of(compiled(ws, SERVED, "loihi2", version)) == SERVED


def test_what_was_not_registered_is_taken_from_the_workspace_if_it_is_of_this_network(ws, version) -> None:
    here = artefact(ws.path("compiled", "spinnaker"), SERVED)
    assert compiled(ws, SERVED, "spinnaker", version) == here
    with pytest.raises(BadInput, match=r"is of another network .serve that one, or run `snn-fusion compile"):
        compiled(ws, OTHER, "spinnaker", version)
    with pytest.raises(BadInput, match=r"nothing is compiled there"):
        compiled(ws, SERVED, "akida", version)


def test_a_fetch_that_was_cut_off_leaves_nothing_that_is_taken_for_an_artefact(ws, version, monkeypatch) -> None:
    def cut(*args, dst_path: str, **kwargs) -> str:
        (Path(dst_path) / "artefact").mkdir()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.artifacts.download_artifacts", cut)
        with pytest.raises(BadInput, match=r"No space left"):
            compiled(ws, SERVED, "loihi2", version)
    assert graph_of(compiled(ws, SERVED, "loihi2", version)) == SERVED
