"""What the stage `register` leaves in MLflow, and that it does so once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from mlflow import MlflowClient

from snn_fusion.config import Params
from snn_fusion.data.manifest import load_together, read_manifest
from snn_fusion.encoding.encoder import encode_together, with_taps
from snn_fusion.errors import BadInput
from snn_fusion.network.fusion import decide
from snn_fusion.network.graph import load_graph
from snn_fusion.registry.chip_runs import PARENT, children
from snn_fusion.registry.frame import to_frame
from snn_fusion.registry.models import resolve_model
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import connect
from snn_fusion.workspace import Workspace, remove_tree
from tests.registry.conftest import kill_after, put_comparison, put_data, put_evaluation, put_network

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pth", ".pt", ".joblib", ".npy", ".bin", ".nbi", ".nbc"}


def test_a_run_holds_parameters_curves_numbers_lineage_files_and_tags(ready: Workspace, params: Params) -> None:
    result = register(params, ready)
    client = connect(ready)
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == str(params.training.epochs)
    assert run.data.params["network.branch.audio"] == "12"
    assert [m.value for m in client.get_metric_history(result["run_id"], "val_accuracy_fused")] == [0.5, 0.8]
    assert [m.step for m in client.get_metric_history(result["run_id"], "val_accuracy_audio")] == [0]
    assert run.data.metrics["accuracy.n3.fused"] == 1.0
    assert run.data.tags["mlflow.source.git.commit"] == "unknown"
    assert run.data.tags["synthetic"] == "false"
    assert "| clean | 100.0 % |" in run.data.tags["mlflow.note.content"]
    lineage = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(lineage) == {"training", "testing"}
    profile = json.loads(lineage["training"].profile)
    assert profile["digest"] == result["data_digest"] and profile["digest"].startswith(lineage["training"].digest)
    assert profile["sources"] == {"lab": {"origin": "a test"}}
    files = {f.path for f in client.list_artifacts(result["run_id"])}
    assert files >= {"report.html", "evaluation.json", "predictions.parquet", "params.yaml", "figures", "validation"}
    version = client.get_model_version_by_alias("snn-fusion", "challenger")
    assert (str(version.version), version.run_id) == (result["version"], result["run_id"])
    graph = load_graph(ready.path("trained", "graph"))
    assert version.tags["graph_digest"] == graph.digest
    assert version.tags["weights_digest"] == graph.weights_digest
    assert version.tags["data_digest"] == result["data_digest"]


def test_synthetic_recordings_mark_run_and_version(ws: Workspace, params: Params, takes: Path) -> None:
    put_data(ws, takes, source="synthetic")
    put_network(ws, params)
    put_evaluation(ws)
    result = register(params, ws)
    client = connect(ws)
    assert result["synthetic"]
    assert client.get_run(result["run_id"]).data.tags["synthetic"] == "true"
    assert client.get_model_version_by_alias("snn-fusion", "challenger").tags["synthetic"] == "true"


def test_the_airflow_run_is_noted(ready: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2030-01-01")
    result = register(params, ready)
    assert connect(ready).get_run(result["run_id"]).data.tags["airflow.run_id"] == "scheduled__2030-01-01"


def test_each_target_has_a_run_nested_in_the_networks(ready: Workspace, params: Params) -> None:
    result = register(params, ready)
    client = connect(ready)
    experiment = client.get_run(result["run_id"]).info.experiment_id
    (nested,) = children(client, experiment, result["run_id"])
    tags = client.get_run(nested).data.tags
    assert (tags["target"], tags["state"]) == ("akida", "unavailable")
    assert "AKIDA=no" in tags["mlflow.note.content"]


def test_a_network_that_loses_too_much_on_a_chip_is_not_registered(ready: Workspace, params: Params) -> None:
    lost = "n3 audio: 80.0 % instead of 81.0 %"
    put_comparison(ready, loihi2={"state": "failed", "why": lost})
    with pytest.raises(BadInput, match=rf"(?s)fidelity gate.*loihi2: {lost}.*targets.waived"):
        register(params, ready)
    assert not ready.path("registered").exists()


def test_a_comparison_of_another_network_is_refused(ready: Workspace, params: Params) -> None:
    kept = json.loads(ready.path("compared", "targets.json").read_text())
    ready.path("compared", "targets.json").write_text(json.dumps(kept | {"graph": "another"}))
    with pytest.raises(BadInput, match=r"another network \(run `snn-fusion compare`\)"):
        register(params, ready)


def aliases(client: MlflowClient) -> dict[str, str]:
    """SQLite gives the versions as whole numbers, a server as text."""
    return {alias: str(version) for alias, version in client.get_registered_model("snn-fusion").aliases.items()}


def counts(ws: Workspace) -> tuple[int, int, int]:
    """Runs, registered versions, logged models."""
    client = connect(ws)
    experiment = client.get_experiment_by_name("snn-fusion")
    models = client.search_logged_models([experiment.experiment_id])
    runs = [r for r in client.search_runs([experiment.experiment_id]) if PARENT not in r.data.tags]
    return len(runs), len(client.search_model_versions("name='snn-fusion'")), len(models)


def test_registering_twice_is_one_version_even_if_the_stage_folder_is_lost(ready: Workspace, params: Params) -> None:
    first = register(params, ready)
    assert register(params, ready) == {**first, "up_to_date": True}
    remove_tree(ready.path("registered"))
    assert register(params, ready) == first
    assert counts(ready) == (1, 1, 1)


def test_another_network_is_another_version_and_going_back_is_not(ready: Workspace, params: Params) -> None:
    first = register(params, ready)
    put_network(ready, params, seed=1)
    put_evaluation(ready)
    second = register(params, ready)
    assert (first["version"], second["version"]) == ("1", "2")
    put_network(ready, params, seed=0)
    put_evaluation(ready)
    assert register(params, ready)["version"] == "1"
    assert connect(ready).get_model_version_by_alias("snn-fusion", "challenger").version in (1, "1")


def test_what_a_chip_answers_later_is_a_new_evaluation_and_no_new_version(ready: Workspace, params: Params) -> None:
    first = register(params, ready)
    put_comparison(ready, spinnaker={"state": "unavailable", "why": "no board today"})
    again = register(params, ready)
    assert (again["version"], again["run_id"]) == ("1", first["run_id"])
    assert again["evaluation_run"] != first["run_id"]
    client = connect(ready)
    evaluation = client.get_run(again["evaluation_run"])
    assert evaluation.info.status == "FINISHED" and evaluation.data.tags[PARENT] == first["run_id"]
    assert client.get_model_version("snn-fusion", "1").tags["evaluation_run"] == again["evaluation_run"]
    assert len(children(client, evaluation.info.experiment_id, again["evaluation_run"])) == 2
    assert counts(ready) == (1, 1, 1)
    put_comparison(ready)
    assert register(params, ready)["evaluation_run"] == first["run_id"]  # as it was at first: nothing new is logged
    assert counts(ready) == (1, 1, 1)


def test_the_same_weights_of_another_commit_are_the_same_version_with_other_answers_a_new_evaluation(
    ready: Workspace, params: Params
) -> None:
    register(params, ready)
    put_network(ready, params, commit="another")
    put_evaluation(ready, {"clean": 40})
    assert register(params, ready)["version"] == "1" and counts(ready) == (1, 1, 1)
    version = connect(ready).get_model_version("snn-fusion", "1")
    assert version.tags["accuracy"] == "90.0 %"
    assert version.tags["graph_digest"] == load_graph(resolve_model(params, ready, "1")).digest  # still what is stored


def test_mlflows_pages_name_kind_duration_accuracy_and_a_data_set_that_exists(ready: Workspace, params: Params) -> None:
    result = register(params, ready)
    client = connect(ready)
    run = client.get_run(result["run_id"])
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    assert run.info.run_name == f"lab 100.0 % {result['weights_digest'][:8]}"
    assert run.info.end_time - run.info.start_time == 2900  # 1.5 s and 1.4 s of training
    version = client.get_model_version("snn-fusion", "1")
    assert "| clean | 100.0 % |" in version.description and version.tags["accuracy"] == "100.0 %"
    place = Path(unquote(urlparse(json.loads(run.inputs.dataset_inputs[0].dataset.source)["uri"]).path))
    assert read_manifest(place / "recordings.parquet") == read_manifest(ready.path("validated", "recordings.parquet"))
    (nested,) = children(client, run.info.experiment_id, run.info.run_id)
    assert client.get_run(nested).info.run_name.endswith(result["weights_digest"][:8])


def test_a_network_that_is_champion_challenges_nobody(ready: Workspace, params: Params) -> None:
    register(params, ready)
    client = connect(ready)
    client.set_registered_model_alias("snn-fusion", "champion", "1")
    client.delete_registered_model_alias("snn-fusion", "challenger")
    remove_tree(ready.path("registered"))
    register(params, ready)
    assert aliases(client) == {"champion": "1"}


def test_how_versions_are_judged_is_not_part_of_the_version(ready: Workspace, params: Params) -> None:
    register(params, ready)
    stricter = params.registry.model_copy(update={"significance": 0.01})
    assert register(params.model_copy(update={"registry": stricter}), ready)["up_to_date"]


def test_an_evaluation_of_another_network_is_refused(ready: Workspace, params: Params) -> None:
    put_network(ready, params, seed=1)
    with pytest.raises(BadInput, match=r"run `snn-fusion evaluate`"):
        register(params, ready)


def test_a_store_that_was_removed_is_filled_again(ready: Workspace, params: Params) -> None:
    register(params, ready)
    ready.path("mlflow").rename(ready.path("moved"))
    assert not json.loads(in_a_process(ready, params).communicate()[0])["up_to_date"]


def test_a_deleted_experiment_is_named(ready: Workspace, params: Params) -> None:
    register(params, ready)
    client = connect(ready)
    client.delete_experiment(client.get_experiment_by_name("snn-fusion").experiment_id)
    remove_tree(ready.path("registered"))
    with pytest.raises(BadInput, match=r"registry.experiment: .*has been deleted \(restore it"):
        register(params, ready)


def test_the_logged_model_holds_no_pickle(ready: Workspace, params: Params) -> None:
    register(params, ready)
    files = [f for f in ready.path("mlflow", "artifacts", "models").rglob("*") if f.is_file()]
    assert any(f.name == "weights.safetensors" for f in files)
    for file in files:
        assert file.suffix not in PICKLE_SUFFIXES, file
        assert file.read_bytes()[:2] not in {b"\x80" + bytes([v]) for v in range(2, 6)}, file  # pickle's opcodes
        assert "__pycache__" not in file.parts


def test_the_loaded_model_gives_the_graphs_answers(ready: Workspace, params: Params) -> None:
    import mlflow.pyfunc

    register(params, ready)
    rows = read_manifest(ready.path("validated", "recordings.parquet"))
    root = ready.path("recordings")
    recordings = [encode_together(load_together(root, row.senses), params.encoding)[0] for row in rows]
    del recordings[0]["audio"], recordings[1]["imu"], recordings[1]["events"]
    model = mlflow.pyfunc.load_model("models:/snn-fusion@challenger")
    answers = model.predict(to_frame(recordings))

    graph = load_graph(ready.path("trained", "graph"))
    for i, spikes in enumerate(recordings):
        run = graph.network.run({s: with_taps(one, params.encoding) for s, one in spikes.items()}, 1)
        assert np.allclose(answers.potential[i], run.potential[0, -1], atol=1e-6)
        assert answers.label[i] == graph.classes[int(decide(run.potential[:, -1])[0])]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"audio_step": [[0, 1]], "audio_channel": [[5]]}, "row 0: audio_step, audio_channel: 2 steps and 1 channels"),
        ({"imu_step": [[10]], "imu_channel": [[0]]}, "row 0: imu_step: 10 is outside 0..9"),
        ({"imu_step": [[0], [0]], "imu_channel": [[0], [-1]]}, "row 1: imu_channel: -1 is outside"),
    ],
)
def test_a_row_that_the_model_cannot_take_is_named(
    ready: Workspace, params: Params, columns: dict[str, list[list[int]]], message: str
) -> None:
    import mlflow.pyfunc
    import pandas as pd

    register(params, ready)
    with pytest.raises(BadInput, match=message):
        mlflow.pyfunc.load_model("models:/snn-fusion/1").predict(pd.DataFrame(columns))


def test_the_model_runs_where_the_package_is_not_installed(ready: Workspace, params: Params, tmp_path: Path) -> None:
    """In a process that cannot see the package, with what was logged only; and it says what it needs."""
    register(params, ready)
    model = next(ready.path("mlflow", "artifacts", "models").glob("m-*")) / "artifacts"
    code = """
import sys, json, importlib.metadata
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
sys.path = [p for p in sys.path if not p.endswith("/src")]
sys.modules.pop("snn_fusion", None)
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(pandas.DataFrame({"audio_step": [[0]], "audio_channel": [[1]]}))
import snn_fusion
print(json.dumps([answers.label[0], snn_fusion.__file__]))
"""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(model)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    label, where = json.loads(done.stdout.splitlines()[-1])
    assert label in "0123456789" and where.startswith(str(model))


@pytest.mark.parametrize(
    ("owner", "moment"),
    [
        ("mlflow.MlflowClient", "log_artifacts"),
        ("mlflow.pyfunc", "log_model"),
        ("mlflow.MlflowClient", "create_model_version"),
        ("mlflow.MlflowClient", "set_registered_model_alias"),
    ],
)
def test_a_kill_while_registering_leaves_no_duplicates(
    ready: Workspace, params: Params, owner: str, moment: str
) -> None:
    kill_after(owner, moment, "snn_fusion.registry.register.register", ready, params)
    assert not ready.path("registered").exists()
    result = register(params, ready)
    assert result["version"] == "1"
    assert counts(ready) == (1, 1, 1)
    assert connect(ready).get_run(result["run_id"]).info.status == "FINISHED"


def in_a_process(ws: Workspace, params: Params) -> subprocess.Popen[str]:
    """`register` in a process of its own, its result as JSON on standard output."""
    code = (
        "import sys,json;from pathlib import Path;from snn_fusion.config import check_params;"
        "from snn_fusion.registry.register import register;from snn_fusion.workspace import Workspace;"
        "print(json.dumps(register(check_params(json.loads(sys.argv[2])), Workspace(Path(sys.argv[1])))))"
    )
    command = [sys.executable, "-c", code, str(ws.root), params.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_at_once_register_one_version(ready: Workspace, params: Params) -> None:
    both = [in_a_process(ready, params) for _ in range(2)]
    results = [json.loads(process.communicate()[0]) for process in both]
    assert [r["version"] for r in results] == ["1", "1"]
    assert sorted(r["up_to_date"] for r in results) == [False, True]
    assert counts(ready) == (1, 1, 1)


def test_a_kill_while_the_store_is_made_leaves_none_or_a_whole_one(tmp_path: Path, params: Params) -> None:
    ws = Workspace(tmp_path / "new")
    code = (
        "import sys;from pathlib import Path;from snn_fusion.registry.tracking import connect;"
        "from snn_fusion.workspace import Workspace;print('go', flush=True);connect(Workspace(Path(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(ws.root)], stdout=subprocess.PIPE)
    while not list(ws.path("mlflow").glob(".mlflow.db*")) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not ws.path("mlflow", "mlflow.db").exists()
    assert connect(ws).search_experiments()


def test_a_model_is_named_by_folder_number_alias_or_not_at_all(ready: Workspace, params: Params) -> None:
    with pytest.raises(BadInput, match=r"nothing is registered yet .run `snn-fusion register`"):
        resolve_model(params, ready, None)
    register(params, ready)
    first = load_graph(ready.path("trained", "graph")).digest
    put_network(ready, params, seed=1)
    put_evaluation(ready)
    register(params, ready)
    second = load_graph(ready.path("trained", "graph")).digest

    def found(name: str | None) -> str:
        return load_graph(resolve_model(params, ready, name)).digest

    assert found(None) == second  # the newest, as there is no champion
    connect(ready).set_registered_model_alias("snn-fusion", "champion", "1")
    assert found(None) == found("champion") == found("1") == first
    assert found("challenger") == found("2") == second
    assert found(str(ready.path("trained", "graph"))) == second
    for name in ("9", "winner"):
        with pytest.raises(BadInput, match=rf"no version or alias '{name}' .registered: 1, 2"):
            resolve_model(params, ready, name)
    with pytest.raises(BadInput, match=r"no such folder"):
        resolve_model(params, ready, "no/such")
