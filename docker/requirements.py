"""Print the locked requirements of an image: `python3 docker/requirements.py service`. Standard library only."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from snn_fusion.serving.requirements import DIRECT, needed  # noqa: E402

TRACES = ("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk")
# mlflow-skinny is MLflow's client without its server; BentoML is not in the service's path.
SERVICE = (*(name for name in DIRECT if name != "bentoml"), *TRACES, "mlflow-skinny")


def project() -> list[str]:
    """The names of the dependencies in pyproject.toml."""
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.split(r"[\[<>=~! ]", one)[0] for one in listed]


def requirements(image: str) -> str:
    """Locked entries with hashes; all but torch, which comes from an index of its own. Raises BadInput, KeyError."""
    lock, production = ROOT / "requirements.lock", (ROOT / "docker" / "production.lock").read_text()
    direct = {"service": list(SERVICE), "mlflow": ["mlflow"], "pipeline": project()}[image]
    if image == "service":
        return needed(lock, direct)
    if image == "mlflow":
        production = "".join(re.findall(r"(?ms)^psycopg2-binary==.*?(?=^[a-z]|\Z)", production))
    return needed(lock, direct) + production


if __name__ == "__main__":
    sys.stdout.write(requirements(sys.argv[1]))
