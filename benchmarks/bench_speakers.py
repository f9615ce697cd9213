"""Each speaker left out in turn: a network trained without that voice, on each chip, beside the float network.

    make bench ARGS="--only speakers"                    # all speakers, about 6 minutes each
    make bench ARGS="--only speakers theo jackson"       # these
    make bench ARGS="--only speakers --targets loihi2 theo"

Recordings and the cache of encodings are those of the workspace; everything else is written to benchmarks-speakers/ in
it, a workspace for each speaker, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import yaml
from rich.console import Console
from rich.table import Table

from snn_fusion.data.manifest import read_manifest
from snn_fusion.workspace import Workspace, project_root

NETWORK = ("validate", "encode", "train", "evaluate")
CHIP = ("tune", "compile", "benchmark")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speakers", nargs="*", help="all of FSDD's if none is named")
    parser.add_argument("--targets", default="loihi2,spinnaker", help="separated by commas")
    asked, ws = parser.parse_args(), Workspace.default()
    shown = Table("left out", "chip", "condition", "n", "float %", "chip %", "lost", "the same %", box=None)
    passed = True
    for speaker in asked.speakers or speakers(ws):
        place = prepare(ws, speaker)
        for stage in NETWORK:
            run(place, stage)
        for name in asked.targets.split(","):
            for stage in CHIP:
                run(place, stage, "--target", name)
            found = json.loads(place.path("measured", name, "measured.json").read_text())
            passed &= found["passed"]
            for condition, views in found["fidelity"].items():
                if "audio" in views and not condition.startswith("early"):
                    shown.add_row(speaker, name, condition, *cells(views["audio"]))
    Console().print(shown)
    return 0 if passed else 1


def speakers(ws: Workspace) -> list[str]:
    rows = read_manifest(ws.path("validated", "recordings.parquet"))
    return sorted({ref.subject for row in rows if row.source == "fsdd" for ref in row.senses.values()})


def prepare(ws: Workspace, speaker: str) -> Workspace:
    """A workspace with the same recordings and encodings, and parameters that leave the speaker out."""
    place = Workspace(ws.path("benchmarks-speakers", speaker))
    place.root.mkdir(parents=True, exist_ok=True)
    for shared in ("recordings", "cache"):
        if not place.path(shared).exists():
            place.path(shared).symlink_to(ws.path(shared))
    params = yaml.safe_load((project_root() / "params.yaml").read_text())
    params["data"]["split"] = f"leave-out:{speaker}"
    place.path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return place


def run(place: Workspace, *arguments: str) -> None:
    """One stage. A failed one ends the benchmark with what it said."""
    program = project_root() / ".venv" / "bin" / "snn-fusion"
    command = [str(program), *arguments, "--params", str(place.path("params.yaml"))]
    print(f"{place.root.name}: {' '.join(arguments)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        command, env={**os.environ, "SNN_FUSION_HOME": str(place.root)}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")


def cells(one: dict) -> list[str]:
    shares = [f"{100 * one[key]:.1f}" for key in ("float", "chip")]
    return [str(one["n"]), *shares, str(one["lost"]), f"{100 * one['agreement']:.1f}"]


if __name__ == "__main__":
    sys.exit(main())
