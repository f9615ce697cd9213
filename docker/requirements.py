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

MLFLOW = ("boto3", "prometheus-flask-exporter", "psycopg2-binary", "s3transfer")  # of production.lock


def project() -> list[str]:
    """The names of the dependencies in pyproject.toml."""
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [_name(one) for one in listed]


def beyond() -> list[str]:
    """The names in production.in."""
    lines = (ROOT / "docker" / "production.in").read_text().splitlines()
    return [_name(one) for one in lines if not one.startswith("#")]


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=~! ]", requirement)[0]


def requirements(image: str) -> str:
    """Locked entries with hashes; all but torch, which comes from an index of its own. Raises BadInput, KeyError."""
    lock, production = ROOT / "requirements.lock", ROOT / "docker" / "production.lock"
    if image == "service":
        return needed(lock, SERVICE)
    direct = ["mlflow", "prometheus-client", "botocore", *MLFLOW] if image == "mlflow" else [*project(), *beyond()]
    more = _entries(production)
    own = more if image == "pipeline" else {name: more[name] for name in MLFLOW}
    return needed(lock, [name for name in direct if name not in more]) + "".join(own.values())


def _entries(lock: Path) -> dict[str, str]:
    blocks = re.split(r"(?m)^(?=[a-z0-9])", lock.read_text())
    return {block.partition("==")[0]: block for block in blocks if "==" in block}


if __name__ == "__main__":
    sys.stdout.write(requirements(sys.argv[1]))
