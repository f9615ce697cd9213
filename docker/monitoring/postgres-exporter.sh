#!/bin/sh
# The exporter reads its password from a file; the role may look at statistics and at nothing else.
set -eu
export DATA_SOURCE_URI="postgres:5432/postgres?sslmode=disable" DATA_SOURCE_USER=monitor \
    DATA_SOURCE_PASS_FILE=/run/secrets/postgres_monitor
exec prometheus-postgres-exporter
