#!/bin/sh
# The backup container: `backup.sh` stays and keeps to the schedule; `backup.sh restore --replace` and the like do one
# thing and end.
set -eu
if [ -n "${SNN_FUSION_BACKUP_STANZA:-}" ]; then
    "$(dirname "$0")/cipher.sh"
    if [ -e "${PGPASSFILE:-/run/secrets/pgpass}" ]; then
        # libpq takes no file that a group can read, as a mounted secret may be.
        copy=${TMPDIR:-/tmp}/pgpass
        (umask 077 && cat "${PGPASSFILE:-/run/secrets/pgpass}" >"$copy")
        export PGPASSFILE="$copy"
    fi
fi
[ $# -gt 0 ] || set -- backup --schedule
exec snn-fusion "$@"
