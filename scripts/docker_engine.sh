#!/usr/bin/env bash
# Run a command with a Docker engine: the one that answers here, else one of its own, for root on Debian, ended with it.
#
#     scripts/docker_engine.sh .venv/bin/pytest tests/docker
#
# Where the base image can be pulled from nowhere, it is made from Debian's packages.
set -euo pipefail
base=${SNN_FUSION_BASE:-debian:bookworm-slim}
say() { echo "docker: $*" >&2; }

if ! docker info >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no engine answers, and only root on Debian can start one here; its tests are skipped"
        exec "$@"
    fi
    command -v dockerd debootstrap >/dev/null && [ "$(command -v dockerd debootstrap | wc -l)" = 2 ] ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io debootstrap iptables; } >/dev/null 2>&1 ||
        { say "docker.io cannot be installed; its tests are skipped" && exec "$@"; }
    place=$(mktemp -d /var/tmp/snn-fusion-docker.XXXXXX)
    export DOCKER_HOST=unix://$place/docker.sock
    dockerd --data-root "$place/data" --exec-root "$place/exec" --pidfile "$place/pid" -H "$DOCKER_HOST" >"$place/log" 2>&1 &
    engine=$!
    trap 'kill "$engine" 2>/dev/null; wait "$engine" 2>/dev/null; rm -rf "$place"' EXIT
    for _ in $(seq 60); do docker info >/dev/null 2>&1 && break || sleep 1; done
    docker info >/dev/null 2>&1 || { tail -5 "$place/log" >&2; say "the engine did not start; its tests are skipped"; }
fi
if docker info >/dev/null 2>&1 && ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base" >/dev/null 2>&1; then
    say "making $base from Debian's packages"
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    root=$(mktemp -d)
    debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian >/dev/null
    cat >"$root/etc/apt/sources.list" <<SOURCES
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
SOURCES
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
    tar -C "$root" -c . | docker import - "$base" >/dev/null
    rm -rf "$root"
fi
"$@"
