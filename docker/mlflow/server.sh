#!/bin/sh
# MLflow's server. The database's password is in the file that PGPASSFILE names, and nowhere else.
set -eu
exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 --static-prefix /mlflow --expose-prometheus /tmp/prometheus \
    --backend-store-uri "$MLFLOW_DATABASE" --serve-artifacts --artifacts-destination "${MLFLOW_ARTIFACTS:-/artifacts}" \
    --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-mlflow:*,localhost:*,127.0.0.1:*}"
