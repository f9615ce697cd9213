"""What in k8s/ is made from other files, so that nothing is written twice: the functions that make it.

`python scripts/k8s_check.py --write` puts the files in place; without `--write` it fails if one of them differs.
"""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"
KUBECTL = ROOT / ".venv-tools" / "bin" / "kubectl"
RULES = ROOT / "docker" / "monitoring" / "rules"
STATSD = ROOT / "docker" / "monitoring" / "statsd.yml"
MADE = "# Made by `python scripts/k8s_check.py --write` from {source}. Change that, not this.\n"


class Refused(Exception):
    """What is wrong, in a sentence for whoever runs the script."""


class Dumper(yaml.SafeDumper):
    """Texts of several lines as such: expressions stay readable."""


def _text(dumper, value):
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Dumper.add_representer(str, _text)


def dumped(content, source):
    return MADE.format(source=source) + yaml.dump(content, Dumper=Dumper, sort_keys=False, width=1000)


def prometheus_rule(files):
    """The PrometheusRule with the groups of all rule files, in the order of their names."""
    groups = []
    for path in sorted(files):
        content = yaml.safe_load(path.read_text())
        if not isinstance(content, dict) or set(content) != {"groups"}:
            raise Refused(f"{path.name}: is no file of Prometheus rules, which has `groups` and no more")
        groups += content["groups"]
    names = [group["name"] for group in groups]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"docker/monitoring/rules: there are two groups named {', '.join(twice)}")
    head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "snn-fusion"}}
    return dumped(head | {"spec": {"groups": groups}}, "docker/monitoring/rules")


def statsd_values(path):
    """Values for Airflow's chart: which metrics become of what Airflow sends to statsd, as in docker/."""
    mappings = yaml.safe_load(path.read_text())["mappings"] if path.exists() else []
    return dumped({"statsd": {"overrideMappings": mappings}}, "docker/monitoring/statsd.yml")


def kustomized(folder):
    """What `kubectl apply -k` of a folder would apply."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{folder}: {done.stderr.strip()}")
    return done.stdout


def made():
    """Each file that is made, and what it has to hold."""
    return {
        K8S / "components" / "monitoring" / "rules.yaml": prometheus_rule(RULES.glob("*.yml")),
        K8S / "airflow" / "statsd.yaml": statsd_values(STATSD),
        K8S / "snn-fusion.yaml": MADE.format(source="overlays/dev") + kustomized(K8S / "overlays" / "dev"),
    }
