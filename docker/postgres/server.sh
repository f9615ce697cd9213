#!/bin/sh
# PostgreSQL with a database and a role for each of Airflow, MLflow and the search. The first start makes the cluster;
# every start sets the roles' passwords to those of the secret files, so that a password is changed by a restart.
set -eu
secret() { cat "/run/secrets/postgres_$1"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.new"
    initdb --pgdata "$PGDATA.new" --username postgres --pwfile /run/secrets/postgres_postgres --encoding UTF8 \
        --locale C.UTF-8 --auth-local peer --auth-host scram-sha-256 --data-checksums
    mv "$PGDATA.new" "$PGDATA" # whole or not at all
fi
found=$(cat "$PGDATA/PG_VERSION")
[ "$found" = 15 ] || { echo "error $PGDATA: is of PostgreSQL $found, not 15 (pg_upgrade it first)" >&2; exit 2; }
if [ "${SNN_FUSION_ARCHIVE:-no}" = yes ]; then # the container `backup` is there, which makes the archive
    /opt/snn-fusion/docker/backup/cipher.sh
    archive=on
    # Seconds of changes that are lost at most with this machine. The first time after a start it is checkpoint_timeout:
    # only then PostgreSQL looks at archive_timeout.
    set -- -c archive_timeout=60 -c checkpoint_timeout=120 "$@"
else
    archive=off
fi
set -- -c archive_mode="$archive" "$@"
conf=/opt/snn-fusion/docker/postgres/postgresql.conf
socket=/tmp/postgres-setup
mkdir -p "$socket" && chmod 700 "$socket"
cat >"$PGDATA/pg_hba.conf" <<HBA
local all all trust
host all all all scram-sha-256
host replication all all scram-sha-256
HBA
pg_ctl --pgdata "$PGDATA" --wait --silent start \
    --options "-c config_file=$conf -c listen_addresses='' -c unix_socket_directories=$socket -c archive_mode=$archive"
for role in airflow mlflow optuna; do
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host "$socket" --username postgres --set role="$role" \
        --set password="$(secret "$role")" postgres <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', :'role') \gexec
SQL
done
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host "$socket" --username postgres \
    --set password="$(secret postgres)" --set monitor="$(secret monitor)" postgres <<'SQL'
ALTER ROLE postgres PASSWORD :'password';
SELECT 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor') \gexec
ALTER ROLE monitor PASSWORD :'monitor';
SQL
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host "$socket" --username postgres --set password="$(secret backup)" \
    --file /opt/snn-fusion/docker/backup/role.sql postgres
pg_ctl --pgdata "$PGDATA" --wait --silent --mode fast stop
exec postgres -D "$PGDATA" -c config_file="$conf" -c unix_socket_directories=/tmp "$@"
