#!/bin/sh
# One of Airflow's processes. Its user's password comes from a secret; Airflow wants to be able to write that file.
set -eu
install -m 600 /run/secrets/airflow_passwords.json /opt/airflow/passwords.json
mkdir -p "$AIRFLOW__LOGGING__BASE_LOG_FOLDER"
exec airflow "$@"
