#!/bin/sh
# Write what pgBackRest needs of the secret to $PGBACKREST_CONFIG_INCLUDE_PATH, for this user only: pgBackRest takes a
# password from its configuration, and neither a command line nor a container's environment may hold one.
#
# Where SNN_FUSION_BACKUP_SECOND is a folder, pgBackRest's second repository lies beside it.
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
{
    printf '[global]\nrepo1-cipher-pass=%s\n' "$password"
    case ${SNN_FUSION_BACKUP_SECOND:-} in
    /*)
        printf 'repo2-path=%s\nrepo2-cipher-type=aes-256-cbc\nrepo2-cipher-pass=%s\n' \
            "$(dirname "$SNN_FUSION_BACKUP_SECOND")/postgres" "$password"
        printf 'repo2-retention-full-type=time\nrepo2-retention-full=30\nrepo2-bundle=y\n'
        ;;
    esac
} >"$PGBACKREST_CONFIG_INCLUDE_PATH/cipher.conf"
