#!/bin/sh
# Write what pgBackRest needs of the secret to $PGBACKREST_CONFIG_INCLUDE_PATH, for this user only: pgBackRest takes a
# password from its configuration, and neither a command line nor a container's environment may hold one.
set -eu
secret=${SNN_FUSION_BACKUP_PASSWORD_FILE:-/run/secrets/backup_password}
password=$(cat "$secret")
case $password in
*[!A-Za-z0-9_+/=-]*)
    echo "error $secret: letters, digits and _ + / = - only (make one: head -c 32 /dev/urandom | base64)" >&2
    exit 2
    ;;
esac
[ "${#password}" -ge 16 ] || {
    echo "error $secret: has ${#password} characters, not 16 or more (make one: head -c 32 /dev/urandom | base64)" >&2
    exit 2
}
umask 077
mkdir -p "$PGBACKREST_CONFIG_INCLUDE_PATH"
printf '[global]\nrepo1-cipher-pass=%s\n' "$password" >"$PGBACKREST_CONFIG_INCLUDE_PATH/cipher.conf"
