#!/bin/sh
# Before Airflow's processes start, once: bring its database to this version's schema; install Akida's SDK into its
# volume, if its user agreed to the licence (snn-fusion up --akida). Without it the target is unavailable.
set -eu
airflow db migrate
if [ "$AKIDA" = yes ]; then
    export UV_CACHE_DIR=/tmp/uv UV_LINK_MODE=copy
    python scripts/toolchains.py akida || echo "akida: not installed, its target is unavailable" >&2
fi
