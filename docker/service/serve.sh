#!/bin/sh
# The service, with the kernels that were compiled when the image was built in a place where it may add to them.
set -eu
[ -d "$NUMBA_CACHE_DIR" ] || cp -r /opt/numba "$NUMBA_CACHE_DIR"
exec python -m snn_fusion.serving.parent --host 0.0.0.0 --port 8080
