"""How the libraries behave under the command: settled before any of them is imported; child processes inherit it."""

from __future__ import annotations

import os

from snn_fusion.workspace import Workspace

# None of them may report home.
TELEMETRY_OFF = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    "BENTOML_DO_NOT_TRACK": "True",
}

# Idle OpenMP threads sleep instead of spinning: on a busy machine spinning made training
# seven times slower. And matrix products give the same bits whatever else the machine does: no thread fewer under load,
# no other kernel for other alignments.
NUMERICS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "MKL_CBWR": "AUTO,STRICT",
}

# What they keep between runs belongs into the workspace's cache/.
CACHES = {"MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba", "TORCHINDUCTOR_CACHE_DIR": "torchinductor"}


def settle(ws: Workspace) -> None:
    """Set the environment variables; what the user has set stays, but for telemetry."""
    os.environ.update(TELEMETRY_OFF)
    for name, value in NUMERICS.items():
        os.environ.setdefault(name, value)
    for name, folder in CACHES.items():
        os.environ.setdefault(name, str(ws.path("cache", folder)))
