"""Check k8s/: `python scripts/k8s_check.py`. Exits with 1 and says what is wrong. Needs .venv-tools (scripts/tools.py).

What is made from other files is as they say (`--write` makes it so), every overlay and option renders, everything fits
the strict schemas of the Kubernetes API, and checkov finds nothing but what k8s/checks/checkov.yaml gives a reason for.
"""

import argparse
import difflib
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import k8s_render as render
import yaml
from k8s_render import K8S, ROOT, Refused

VERSION = "1.37"
TOOLS = ROOT / ".venv-tools" / "bin"
# Kinds that others define, of which kubernetes-validate has no schema.
FOREIGN = {
    ("external-secrets.io/v1", "ExternalSecret"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
}


def differences(write):
    """What differs from what it is made from, each as a text; with `write` there is nothing left."""
    found = []
    for path, wanted in render.made().items():
        there = path.read_text() if path.exists() else ""
        if there == wanted:
            continue
        if write:
            path.write_text(wanted)
            print(f"k8s: wrote {path.relative_to(ROOT)}")
            continue
        lines = difflib.unified_diff(there.splitlines(), wanted.splitlines(), "there", "wanted", lineterm="", n=1)
        shown = "\n".join(itertools.islice(lines, 20))
        found.append(f"{path.relative_to(ROOT)} is not up to date; `python scripts/k8s_check.py --write`\n{shown}")
    return found


def combined(overlay, *components):
    """An overlay with components that it leaves to choice."""
    with tempfile.TemporaryDirectory() as folder:
        named = {
            "resources": [os.path.relpath(K8S / "overlays" / overlay, Path(folder).resolve())],
            "components": [os.path.relpath(K8S / "components" / name, Path(folder).resolve()) for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(named))
        return render.kustomized(folder)


def task_pod():
    """The pod template of Airflow's chart, which Helm's own templates leave valid YAML."""
    return yaml.safe_load((K8S / "airflow" / "values.yaml").read_text())["podTemplate"]


def variants():
    """Everything that may reach a cluster, by name."""
    return {
        "dev": combined("dev"),
        "dev-monitoring": combined("dev", "monitoring"),
        "production": combined("production"),
        "production-requests-in-flight": combined("production", "requests-in-flight"),
        "airflow-task": task_pod(),
    }


def invalid(path):
    """What of a file does not fit the API's schemas. A kind that has none is told too: its version may be mistyped."""
    command = [TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", VERSION, path]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    known = {f"for kind {kind} with api version {version} " for version, kind in FOREIGN}
    left = [line for line in lines if not any(one in line for one in known)]
    if done.returncode and not left:
        return [f"kubernetes-validate ended with {done.returncode} and said nothing"]
    return [line.replace(str(path.parent) + "/", "") for line in left]


def insecure(folder):
    """What checkov finds in the files of a folder."""
    command = [TOOLS / "checkov", "--config-file", K8S / "checks" / "checkov.yaml", "--directory", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LOG_LEVEL": "ERROR"})
    if done.returncode == 0 and "Passed checks: " in done.stdout:  # else there was nothing that it could read
        return []
    return [(done.stdout + done.stderr).strip() or f"checkov ended with {done.returncode} and said nothing"]


def problems(write, checkov):
    yield from differences(write)
    rendered = variants()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in rendered.items():
            path = Path(folder) / f"{name}.yaml"
            path.write_text(text)
            yield from invalid(path)
        if checkov:
            yield from insecure(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what is made from other files")
    parser.add_argument("--no-checkov", action="store_true", help="leave checkov out, which takes the longest")
    asked = parser.parse_args()
    if not render.KUBECTL.exists():
        print("k8s: .venv-tools is missing; `python scripts/tools.py` makes it", file=sys.stderr)
        return 1
    try:
        found = list(problems(asked.write, not asked.no_checkov))
    except Refused as refused:
        found = [str(refused)]
    for problem in found:
        print(f"k8s: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
