"""Print the Secrets of an installation in one cluster, as a list that kubectl takes:

    .venv/bin/python k8s/secrets/make.py ~/snn-fusion-secrets | kubectl apply -f -

The folder has a file of mode 600 for each secret. What is missing in it is drawn at random, or signed by itself
(tls.crt, tls.key); what is there is kept, so that the same folder always gives the same Secrets. The key that signs
tokens stays in the folder: no Secret holds it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from snn_fusion.deploy.certificate import settle
from snn_fusion.deploy.secret_files import KID, make
from snn_fusion.errors import BadInput

Files = dict[str, str]


def contents(folder: Path) -> dict[str, Files]:
    """The files of each Secret. Raises OSError."""

    def text(name: str) -> str:
        return (folder / name).read_text()

    def files(*names: str) -> Files:
        return {name: text(name) for name in names}

    airflow, optuna, jwt = (text(name).strip() for name in ("postgres_airflow", "postgres_optuna", "airflow_jwt"))
    return {
        "app": files("keys.json", "redis_url", "metrics_token"),
        "redis": files("redis.conf"),
        "postgres": files(*sorted(path.name for path in folder.glob("postgres_*")), "backup_password"),
        "mlflow": {"pgpass": text("pgpass_mlflow")},
        "search": {"pgpass": f"*:*:optuna:optuna:{optuna}\n"},
        "backup": files("backup_password") | {"pgpass": text("pgpass_backup")},
        "airflow-database": {"connection": f"postgresql+psycopg2://airflow:{airflow}@postgres:5432/airflow"},
        "airflow-fernet": {"fernet-key": text("airflow_fernet").strip()},
        "airflow-jwt": {"jwt-secret": jwt},
        "airflow-api": {"api-secret-key": hashlib.sha256(f"api-secret-key {jwt}".encode()).hexdigest()},
        "airflow-users": {"passwords.json": text("airflow_passwords.json")},
        "tls": files("tls.crt", "tls.key"),
    }


def listed(of: dict[str, Files], namespace: str) -> dict[str, object]:
    """A List of Secrets."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "type": "kubernetes.io/tls" if name == "tls" else "Opaque",
                "data": {file: base64.b64encode(text.encode()).decode() for file, text in files.items()},
            }
            for name, files in of.items()
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the Secrets of an installation in one cluster.")
    parser.add_argument("folder", type=Path, help="where their files are, or are to be; not in Git")
    parser.add_argument("--host", default="snn-fusion.localhost", help="name that the certificate has to have")
    parser.add_argument("--namespace", default="snn-fusion")
    asked = parser.parse_args()
    try:
        if made := make(asked.folder):
            sys.stderr.write(f"{asked.folder}: made {', '.join(made)}\n")
        sys.stderr.write(f"{asked.folder}: {settle(asked.folder, asked.host, None)}\n")
    except BadInput as problem:
        sys.stderr.write(f"error {problem}\n")
        return problem.exit_code
    signing = asked.folder / f"{KID}.private.json"
    sys.stderr.write(f"tokens: snn-fusion token NAME --role predictor --key {signing}\n")
    json.dump(listed(contents(asked.folder), asked.namespace), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
