"""Airflow runs outside of pytest's process, in a workspace of each test's own; a stand-in can take the CLI's place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.registry.embedded_airflow import environment, migrate
from snn_fusion.workspace import Workspace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EACH = 8  # recordings a digit, sense and split, in the small subset

# Answers at once with what the real stage would print; fails where it is told to.
STAND_IN = """#!/bin/sh
echo "$@" >> "$CALLS"
echo "$1 at work" >&2
sleep "${NAP:-0}"
case "$FAIL_AT" in
"$1" | "$1 $2" | "$1 $2 $4" | "$1 ${2#--target=}")  # a stage, a step or a trial of the search, a stage of a chip
    echo "error speech/7.wav: duration_s: 0.0 is outside 0.05 to 10" >&2
    exit "${FAIL_WITH:-1}"
    ;;
esac
if [ "$1 $2" = "search plan" ]; then
    echo '{"slots": [0, 1, 2]}'
    exit
fi
case "$2" in
--target=${UNAVAILABLE:-nothing})
    echo '{"target": "a chip", "unavailable": "its SDK is not installed"}'
    exit
    ;;
esac
NONE='{}'
echo '{"new_recordings": '"${NEW:-0}"', "new": {"lab": '"${NEW:-0}"'}, "new_in_data_sources": '"${USED:-$NONE}"'}'
"""

Drive = Callable[..., Any]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Airflow that has a database; making one takes seconds."""
    ws = Workspace(tmp_path_factory.mktemp("migrated"))
    migrate(ws)
    return ws.path("airflow")


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that takes the CLI's place."""
    program = tmp_path_factory.mktemp("program") / "stand-in"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return program


def run_driver(ws: Workspace, function: str, *arguments: object, **variables: str) -> Any:
    """Call a function of driver.py in a Python of its own with the workspace's Airflow; returns what it prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / "driver.py"), function, json.dumps(arguments)],
        env=environment(ws) | {"SNN_FUSION_RETRIES": "0"} | variables,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def drive_once(tmp_path_factory: pytest.TempPathFactory, migrated: Path, stand_in: Path) -> Drive:
    """`run_driver` with the stand-in, in one workspace for the module."""
    ws = Workspace(tmp_path_factory.mktemp("home"))
    shutil.copytree(migrated, ws.path("airflow"))
    calls = ws.path("calls")
    calls.touch()
    return lambda *arguments: run_driver(ws, *arguments, SNN_FUSION_CLI=str(stand_in), CALLS=str(calls))


@pytest.fixture
def airflow(workspace: Workspace, migrated: Path) -> Workspace:
    """A workspace whose Airflow has a database."""
    shutil.copytree(migrated, workspace.path("airflow"))
    return workspace


@pytest.fixture
def small_mirror(mirror: Path, tmp_path: Path) -> Path:
    """A few real recordings of each digit, sense and split, in the mirror's layout."""
    small = tmp_path / "mirror"
    _copy_sound(mirror / "fsdd" / "recordings", small / "fsdd" / "recordings")
    for split in ("Train", "Test"):
        for digit in "0123456789":
            files = sorted((mirror / "nmnist" / split / digit).glob("*.bin"))[:EACH]
            _copy(files, small / "nmnist" / split / digit)
    for name in ("pendigits-orig.tra", "pendigits-orig.tes"):
        _copy_strokes(mirror / "pendigits" / name, small / "pendigits" / name)
    return small


@pytest.fixture
def small_params(tmp_path: Path) -> Path:
    """A params.yaml for a run of seconds: few variations, a small network, two epochs."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["encoding"]["copies"] = {"audio": 1}
    raw["network"] |= {"branch": {"audio": 24, "events": 24, "imu": 24}, "joint": 24}
    raw["training"] |= {"epochs": 2, "batch": 32, "recordings_per_epoch": 320}
    raw["registry"]["floor"] = {"above_chance": 0.0, "baseline": 0.0}
    raw["targets"] |= {"epochs": 0, "waived": {"loihi2": "two epochs make a network of coin tosses"}}
    raw["validation"]["disjoint_subjects"] = []  # too few writers to keep some for validation
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)


def _copy_sound(source: Path, target: Path) -> None:
    """`{digit}_{speaker}_{n}.wav`: n below 5 is the test split."""
    of_digit: dict[tuple[str, bool], list[Path]] = {}
    for file in sorted(source.glob("*.wav")):
        digit, _, n = file.stem.split("_")
        of_digit.setdefault((digit, int(n) < 5), []).append(file)
    _copy([file for files in of_digit.values() for file in files[:: max(len(files) // EACH, 1)][:EACH]], target)


def _copy_strokes(source: Path, target: Path) -> None:
    head, *segments = re.split(r"(?m)^(?=\.SEGMENT)", source.read_text())
    seen: Counter[str] = Counter()
    kept = []
    for segment in segments:
        digit = segment.splitlines()[0].split('"')[1]
        seen[digit] += 1
        if seen[digit] <= EACH:
            kept.append(segment)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(head + "".join(kept))
