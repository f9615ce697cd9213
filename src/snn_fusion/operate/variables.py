"""Environment variables that the project reads. One with a typing error would otherwise be ignored without a word."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping

from snn_fusion import notify
from snn_fusion.errors import BadInput

PREFIX = "SNN_FUSION_"
# Those of SERVE_ and BACKUP_ are checked by the settings that read them. A test compares this list with the code.
KNOWN = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("HOME", "USER", "CLI", "CALL", "RETRIES", "DATA_DIR", "DVC_REMOTE", "SEARCH_STORAGE", "LOG", "REQUEST_ID"),
        *("LOIHI2", "SPINNAKER_MACHINE"),
        *("STATE", "PROJECT", "TAG", "BASE", "TORCH_INDEX", "GRAFANA_IMAGE", "STATSD_IMAGE"),
    )
)
NOTIFY = frozenset(
    f"{notify.PREFIX}{name}"
    for name in (
        *(field.upper() for field in notify.Settings.__dataclass_fields__),
        *(f"{name}_FILE" for name in notify.SECRETS),
    )
)
CHECKED_ELSEWHERE = (f"{PREFIX}SERVE_", f"{PREFIX}BACKUP_")


def check(environment: Mapping[str, str] = os.environ) -> str:
    """Raises BadInput naming a variable that nothing reads."""
    names = sorted(name for name in environment if name.startswith(PREFIX))
    for name in names:
        if name not in KNOWN | NOTIFY and not name.startswith(CHECKED_ELSEWHERE):
            similar = difflib.get_close_matches(name, KNOWN | NOTIFY, 1)
            raise BadInput(name, "is read by nothing", f"did you mean {similar[0]}?" if similar else "unset it")
    return ", ".join(names) or "none is set"
