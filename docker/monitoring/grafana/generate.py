"""Write the dashboards that Grafana is provisioned with: python docker/monitoring/grafana/generate.py [--check]

`--check` writes nothing, and exits with 1 if a file is not what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import application
import business
import snn
import system
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).resolve().parent / "dashboards"


def made() -> dict[Path, str]:
    """Each dashboard's file and content."""
    boards = {"system": system, "application": application, "snn": snn, "business": business}
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {FOLDER / f"{name}.json": encoder.encode(one.build().build()) + "\n" for name, one in boards.items()}


def main() -> int:
    found = made()
    stale = [path for path, text in found.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in FOLDER.glob("*.json") if path not in found]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path} is not what generate.py makes; run it\n")
        return bool(stale)
    for path in stale:
        if path in found:
            path.write_text(found[path])
        else:
            path.unlink()
        sys.stdout.write(f"{path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
