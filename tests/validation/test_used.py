"""How much of the recordings the network would see: measured, warned of, and refused where it is next to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn_fusion.config import Params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.validation.at_import import import_measured
from snn_fusion.validation.stage import validate
from snn_fusion.workspace import Workspace
from tests.validation.test_validate import with_params

RATE = 50  # samples a second


def activities(folder: Path, seconds: float, rest_s: float = 0.0) -> Path:
    """Walking and sitting down over and over, as an IMU on the waist feels them: two classes, 24 recordings."""
    folder.mkdir()
    rng, lines = np.random.default_rng(0), ["id,label,split,imu"]
    t = np.arange(round((rest_s + seconds) * RATE)) / RATE
    for n in range(24):
        label, pace = (("walk", 2.0), ("sit", 0.6))[n % 2]
        moving = (t >= rest_s)[:, None]
        phase = 2 * np.pi * pace * rng.uniform(0.9, 1.1) * t[:, None] + rng.uniform(0, 6, 3)
        values = moving * 4 * np.sin(phase) + rng.normal(0, 0.01, (len(t), 3))
        rows = [f"{round(1e6 * at)},{x:.4f},{y:.4f},{z:.4f},1" for at, (x, y, z) in zip(t, values, strict=True)]
        head = "t_us,acc_x[m/s^2],acc_y[m/s^2],turn_rate[rad/s],contact[1]"
        (folder / f"{n}.csv").write_text("\n".join([head, *rows]) + "\n")
        lines.append(f"{n},{label},{'test' if n % 4 > 1 else 'train'},{n}.csv")
    (folder / "recordings.csv").write_text("\n".join(lines) + "\n")
    return folder


def validated(folder: Path, ws: Workspace, params: Params, **changes: Any) -> dict[str, Any]:
    changed = with_params(params, data__sources=["lab"], **changes)
    import_recordings(changed, ws, source=folder, name="lab")
    return validate(changed, ws)


def test_activities_of_eight_seconds_get_a_warning_with_the_steps_that_hold_them(
    workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    found = validated(activities(tmp_path / "lab", 8.0), workspace, params)
    (warning,) = [one for one in found["warnings"] if "outside the window" in one]
    assert warning.startswith("imu of lab: 88% of the movement lies outside the window of 1 s")
    assert "24 of 24 recordings lose more than 10% of theirs" in warning
    assert "encoding.steps: 400 (now 50) would hold 99 % of them" in warning
    written = json.loads(workspace.path("validated", "validation.json").read_text())
    assert written["used"]["imu"]["mean_share"] == pytest.approx(1 / 8, abs=0.02)
    assert written["used"]["imu"]["lose_more_than_a_tenth"] == 24
    assert written["used"]["imu"]["onset"] == {"at once": 24}
    assert "share inside the network" in workspace.path("validated", "validation.html").read_text()


def test_with_the_proposed_steps_there_is_no_warning(workspace: Workspace, params: Params, tmp_path: Path) -> None:
    found = validated(activities(tmp_path / "lab", 8.0), workspace, params, encoding__steps=400)
    assert not [one for one in found["warnings"] if "window" in one]
    assert found["used"]["imu"] > 0.98


def test_recordings_that_begin_late_are_whole_in_the_window(
    workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    found = validated(activities(tmp_path / "lab", 0.9, rest_s=3.0), workspace, params)
    assert not [one for one in found["warnings"] if "window" in one]
    assert found["used"]["imu"] > 0.95
    written = json.loads(workspace.path("validated", "validation.json").read_text())
    assert written["used"]["imu"]["onset"] == {"later": 24}


def test_recordings_wholly_outside_the_window_are_set_aside(
    workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    from snn_fusion.errors import BadInput

    folder = activities(tmp_path / "lab", 2.0, rest_s=3.0)
    with pytest.raises(BadInput, match="outside the window") as refused:
        validated(folder, workspace, params, encoding__onset=None)
    assert "100.0% of the recordings of lab are bad (24 of 24)" in str(refused.value)


def test_the_import_says_how_much_of_each_source_and_sense_lies_in_the_window(
    workspace: Workspace, params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = activities(tmp_path / "lab", 8.0)
    found = import_measured(params, workspace, source=folder)
    assert found["used"] == {"lab": {"imu": pytest.approx(1 / 8, abs=0.02)}}
    assert found["warnings"][0].startswith("imu of lab: 88% of the movement lies outside the window of 1 s")
    assert "warning: imu of lab: 88% of the movement lies outside" in capsys.readouterr().err
    validate(with_params(params, data__sources=["lab"]), workspace)
    written = json.loads(workspace.path("validated", "validation.json").read_text())
    assert written["used"]["imu"]["mean_share"] == found["used"]["lab"]["imu"]

    found = import_measured(with_params(params, encoding__steps=400), workspace, source=folder)
    assert found["used"]["lab"]["imu"] > 0.98 and not found["warnings"]
    assert found["up_to_date"]
