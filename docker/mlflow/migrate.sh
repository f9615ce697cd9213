#!/bin/sh
# Bring MLflow's database to this version's schema, once, before the server starts.
set -eu
exec mlflow db upgrade "$MLFLOW_DATABASE"
