"""What of k8s/ is made from other files, and the script that checks k8s/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.k8s_objects import K8S, Object, named, objects, pods, script, with_tools

RULES = """
groups:
  - name: {name}
    rules:
      - alert: One
        expr: |
          up == 0
            and on (job) vector(1)
        annotations:
          summary: "{{{{ $labels.job }}}} is down"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "b.yml").write_text(RULES.format(name="second"))
    (tmp_path / "a.yml").write_text(RULES.format(name="first"))
    return tmp_path


def test_the_rule_has_the_groups_of_all_files_as_they_are(rules: Path) -> None:
    made = yaml.safe_load(script("k8s_render").prometheus_rule(rules.glob("*.yml")))
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    one, other = (yaml.safe_load((rules / name).read_text())["groups"] for name in ("a.yml", "b.yml"))
    assert made["spec"]["groups"] == one + other


def test_without_rules_there_is_a_rule_of_no_groups() -> None:
    assert yaml.safe_load(script("k8s_render").prometheus_rule([]))["spec"] == {"groups": []}


def test_a_file_that_holds_no_rules_is_refused_by_name(rules: Path) -> None:
    (rules / "c.yml").write_text("rules: []\n")
    render = script("k8s_render")
    with pytest.raises(render.Refused, match=r"c\.yml: is no file of Prometheus rules"):
        render.prometheus_rule(rules.glob("*.yml"))


def test_two_groups_of_one_name_are_refused(rules: Path) -> None:
    (rules / "c.yml").write_text(RULES.format(name="first"))
    render = script("k8s_render")
    with pytest.raises(render.Refused, match="two groups named first"):
        render.prometheus_rule(rules.glob("*.yml"))


def test_what_airflow_sends_becomes_the_same_metrics_as_on_docker(tmp_path: Path) -> None:
    mapping = [{"match": "airflow.*.x", "name": "airflow_x", "labels": {"of": "$1"}}]
    (tmp_path / "statsd.yml").write_text(yaml.safe_dump({"mappings": mapping}))
    made = yaml.safe_load(script("k8s_render").statsd_values(tmp_path / "statsd.yml"))
    assert made == {"statsd": {"overrideMappings": mapping}}


def test_the_rules_are_those_of_docker() -> None:
    render = script("k8s_render")
    there = (K8S / "components" / "monitoring" / "rules.yaml").read_text()
    assert there == render.prometheus_rule(render.RULES.glob("*.yml")), "python scripts/k8s_check.py --write"


def test_every_job_that_a_rule_names_is_scraped() -> None:
    folder = K8S / "components" / "monitoring"
    named_jobs = set(re.findall(r'job="([^"]+)"', (folder / "rules.yaml").read_text()))
    monitors = objects((folder / "monitors.yaml").read_text())
    jobs = {
        one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        if one["spec"].get("jobLabel") == "app.kubernetes.io/name"
        else one["spec"]["endpoints"][0]["relabelings"][0]["replacement"]
        for one in monitors
    }
    assert named_jobs and named_jobs <= jobs


@with_tools
def test_every_file_is_what_it_is_made_from() -> None:
    assert script("k8s_check").differences(write=False) == []


@pytest.fixture(scope="module")
def production() -> list[Object]:
    return objects(script("k8s_check").combined("production", "requests-in-flight"))


@with_tools
def test_production_brings_no_database_and_no_secret_of_its_own(production: list[Object]) -> None:
    assert not [one for one in production if one["kind"] == "Secret" or one["metadata"]["name"] == "postgres"]
    store = {one["spec"]["secretStoreRef"]["name"] for one in production if one["kind"] == "ExternalSecret"}
    assert store == {"snn-fusion"}


@with_tools
def test_every_secret_that_production_mounts_is_fetched(production: list[Object]) -> None:
    fetched = {one["metadata"]["name"] for one in production if one["kind"] == "ExternalSecret"}
    mounted = {
        volume["secret"]["secretName"]
        for pod in pods(production).values()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted <= fetched


@with_tools
def test_each_setting_of_production_reaches_what_it_is_for(production: list[Object]) -> None:
    settings: dict[str, str] = yaml.safe_load((K8S / "overlays" / "production" / "settings.yaml").read_text())["data"]
    text = yaml.safe_dump_all(production)
    assert not [name for name, value in settings.items() if value not in text]
    assert "192.0.2.0" not in text, "an address that is to be filled in"
    assert not [one for one in production if one["metadata"]["name"] == "settings"]
    claims = [one["spec"]["storageClassName"] for one in production if one["kind"] == "PersistentVolumeClaim"]
    assert set(claims) == {settings["storageClass"]}


@with_tools
def test_a_changed_setting_rolls_mlflow_out(production: list[Object]) -> None:
    """By the digest in the name of its configuration, which covers what settings.yaml filled in."""
    (name,) = [
        one["metadata"]["name"]
        for one in production
        if one["kind"] == "ConfigMap" and "PGHOST" in one["data"] and one["metadata"]["name"] != "pipeline"
    ]
    spec = named(production, "Deployment", "mlflow")["spec"]["template"]["spec"]
    assert spec["containers"][0]["envFrom"] == [{"configMapRef": {"name": name}}]
    assert name.startswith("mlflow-")


@with_tools
def test_requests_in_flight_join_the_metrics_that_scale(production: list[Object]) -> None:
    metrics = named(production, "HorizontalPodAutoscaler", "app")["spec"]["metrics"]
    assert [one["type"] for one in metrics] == ["Resource", "Resource", "Pods"]
    adapter = yaml.safe_load((K8S / "components" / "requests-in-flight" / "prometheus-adapter.yaml").read_text())
    served = [rule["name"]["as"] for rule in adapter["rules"]["custom"]]
    assert served == [metrics[2]["pods"]["metric"]["name"]]


@with_tools
def test_a_field_or_a_version_that_the_api_does_not_have_is_found(tmp_path: Path) -> None:
    right = named(objects((K8S / "snn-fusion.yaml").read_text()), "HorizontalPodAutoscaler", "app")
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(right))
    check = script("k8s_check")
    assert check.invalid(path) == []
    path.write_text(yaml.safe_dump(right | {"spec": right["spec"] | {"minReplica": 2}}))
    assert "minReplica" in check.invalid(path)[0]
    path.write_text(yaml.safe_dump(right | {"apiVersion": "autoscaling/v3"}))
    assert "autoscaling/v3" in check.invalid(path)[0]


@with_tools
@pytest.mark.slow
def test_a_container_that_may_gain_privileges_is_found(tmp_path: Path) -> None:
    text = (K8S / "snn-fusion.yaml").read_text()
    (tmp_path / "one.yaml").write_text(text.replace("PrivilegeEscalation: false", "PrivilegeEscalation: true"))
    (found,) = script("k8s_check").insecure(tmp_path)
    assert "CKV_K8S_20" in found


def test_each_check_that_is_skipped_has_its_reason() -> None:
    lines = (K8S / "checks" / "checkov.yaml").read_text().splitlines()
    skipped = lines[lines.index("skip-check:") + 1 :]
    entries = [at for at, line in enumerate(skipped) if line.startswith("  - CKV")]
    assert len(entries) == len(yaml.safe_load("\n".join(lines))["skip-check"])
    assert all(at > 0 and skipped[at - 1].startswith("  # ") for at in entries)
