"""What serving needs of requirements.lock: its own packages and theirs, by the lock's notes of what came via what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from snn_fusion.errors import BadInput

# What the modules behind serving/service.py and serving/parent.py import; docs/dependencies.md says why each is used.
DIRECT = (
    *("bentoml", "filelock", "h5py", "httptools", "llvmlite", "msgspec", "nir", "numba", "numpy", "prometheus-client"),
    *("psutil", "pyarrow", "pydantic", "pyjwt", "pyyaml", "redis", "rich", "safetensors", "scipy", "soundfile"),
    *("starlette", "torch", "uvicorn", "uvloop", "websockets"),
)
TORCH = "torch==2.13.0"  # not in the lock, because of its builds: scripts/setup.py installs this one


def needed(lock: Path, direct: Iterable[str] = DIRECT) -> str:
    """The lock's entries, with hashes, of what `direct` (else serving) needs; all but torch itself. Raises BadInput."""
    try:
        entries = _entries(lock.read_text())
    except FileNotFoundError:
        raise BadInput(lock, "no such file", "run in the project's folder") from None
    wanted = set(direct)
    if missing := sorted(wanted - entries.keys() - {"torch"}):
        raise BadInput(lock, f"lacks {', '.join(missing)}", "run scripts/lock.sh")
    while more := {name for name, (_, via) in entries.items() if via & wanted} - wanted:
        wanted |= more
    return "".join(text for name, (text, _) in entries.items() if name in wanted)


def _entries(lock: str) -> dict[str, tuple[str, set[str]]]:
    """Package -> its lines without comments, and which packages asked for it. It may be there once for each Python."""
    found: dict[str, tuple[str, set[str]]] = {}
    for block in re.split(r"(?m)^(?=[a-z0-9])", lock):
        if name := re.match(r"([a-z0-9._-]+)==", block):
            lines = [line for line in block.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            via = re.findall(r"(?m)^ +#(?: via)? +([a-z0-9._-]+)", block)
            text, before = found.get(name[1], ("", set()))
            found[name[1]] = (text + "\n".join(lines) + "\n", before | set(via))
    return found
