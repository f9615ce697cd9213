"""Airflow's chart is not at hand: its values are held to what can be known without it."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import yaml

from tests.deploy.k8s_objects import K8S, ROOT, dev, named, script, task, values, with_tools


def test_the_chart_is_told_the_version_that_the_lock_has() -> None:
    assert values()["airflowVersion"] == version("apache-airflow")


def test_airflow_knows_each_option_that_is_set() -> None:
    """But for those of the Kubernetes executor, whose provider is in the image only."""
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=False)
    for section, options in values()["config"].items():
        if section != "kubernetes_executor":
            assert set(options) <= set(known[section]["options"]), section


def test_dags_are_read_where_the_image_has_them() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    stage = dockerfile[dockerfile.index(" AS pipeline\n") :]
    workdir = re.search(r"^WORKDIR (\S+)$", stage, re.M)
    assert workdir and re.search(r"^COPY dags dags$", stage, re.M)
    assert values()["config"]["core"]["dags_folder"] == f"{workdir[1]}/dags"


def test_no_probe_calls_the_entrypoint_of_the_official_image() -> None:
    chart = values()
    probes = [chart["scheduler"]["startupProbe"]] + [
        chart[one]["livenessProbe"] for one in ("scheduler", "dagProcessor", "triggerer")
    ]
    for probe in probes:
        assert re.fullmatch(r"exec airflow jobs check --job-type \w+Job --local", probe["command"][-1])


def test_pods_of_the_chart_run_as_the_namespace_demands() -> None:
    of = values()["securityContexts"]
    mine = task()["spec"]
    assert of["pod"] == mine["securityContext"]
    assert of["containers"] == mine["containers"][0]["securityContext"]
    assert of["containers"] == values()["statsd"]["securityContexts"]["container"]


def test_a_task_is_a_container_called_base_that_starts_no_other_pod() -> None:
    spec = task()["spec"]
    assert [one["name"] for one in spec["containers"]] == ["base"]
    assert {"name": "AIRFLOW__CORE__EXECUTOR", "value": "LocalExecutor"} in spec["containers"][0]["env"]
    assert spec["restartPolicy"] == "Never"


def test_what_a_task_mounts_and_reads_is_there() -> None:
    found, volumes = dev(), task()["spec"]["volumes"]
    claims = [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]
    for name in (*claims, values()["logs"]["persistence"]["existingClaim"]):
        named(found, "PersistentVolumeClaim", name)
    (config,) = [one["configMapRef"]["name"] for one in task()["spec"]["containers"][0]["envFrom"]]
    settings = named(found, "ConfigMap", config)["data"]
    assert settings["SNN_FUSION_HOME"] == "/workspace"
    assert settings["PGPASSFILE"].startswith("/private/")


def test_values_of_statsd_join_the_others() -> None:
    made = yaml.safe_load((K8S / "airflow" / "statsd.yaml").read_text())
    assert set(made) == {"statsd"} and set(made["statsd"]) == {"overrideMappings"}


@with_tools
def test_the_task_fits_the_api(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(script("k8s_check").task_pod())
    assert script("k8s_check").invalid(path) == []


def test_each_process_requests_and_is_limited() -> None:
    for name in ("scheduler", "apiServer", "dagProcessor", "triggerer", "migrateDatabaseJob", "statsd"):
        resources = values()[name]["resources"]
        assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}, name
