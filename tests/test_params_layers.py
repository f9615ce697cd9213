"""A parameters file that extends another one, and parameters that contradict each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.config import check_params, load_params
from snn_fusion.errors import BadInput
from snn_fusion.strict_yaml import write_yaml

ROOT = Path(__file__).resolve().parent.parent
WHOLE = load_params(ROOT / "params.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as refused:
        load_params(path)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_a_file_that_extends_another_changes_only_what_it_names(folder: Path) -> None:
    found = load_params(put(folder, "mine.yaml", "extends: params.yaml\ntraining: {epochs: 3}\n"))
    assert found.training.epochs == 3
    changed = WHOLE.training.model_copy(update={"epochs": 3})
    assert found == WHOLE.model_copy(update={"training": changed})


def test_the_nearest_file_of_a_chain_wins_and_each_name_is_relative_to_its_own_file(folder: Path) -> None:
    put(folder, "labs/base.yaml", "extends: ../params.yaml\nseed: 5\ntraining: {epochs: 3, batch: 64}\n")
    found = load_params(put(folder, "runs/today/mine.yaml", "extends: ../../labs/base.yaml\ntraining: {epochs: 4}\n"))
    assert (found.seed, found.training.epochs, found.training.batch) == (5, 4, 64)
    assert found.network == WHOLE.network


def test_a_list_replaces_the_list_below_it(folder: Path) -> None:
    found = load_params(put(folder, "mine.yaml", "extends: params.yaml\ndata: {sources: [lab]}\n"))
    assert found.data.sources == ["lab"]


def test_a_null_removes_an_entry_of_the_file_below(folder: Path) -> None:
    text = "extends: params.yaml\nnetwork: {branch: {imu: null}}\nencoding: {copies: {imu: null}}\n"
    found = load_params(put(folder, "mine.yaml", text))
    assert dict(found.network.branch) == {"audio": 256, "events": 256}


def test_a_null_is_a_value_where_the_parameter_takes_it(folder: Path) -> None:
    space = "{training.batch: {low: null, high: null, choices: [64, 128]}, training.learning_rate: {log: false}}"
    put(folder, "base.yaml", "extends: params.yaml\nsearch: {space: {training.batch: {low: 64, high: 256}}}\n")
    found = load_params(put(folder, "mine.yaml", f"extends: base.yaml\nsearch: {{space: {space}}}\n"))
    assert found.search.space["training.batch"].choices == [64, 128]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: mine.yaml\n", "mine.yaml: extends: leads back to itself"),
        ("extends: absent.yaml\n", "mine.yaml: extends: {folder}/absent.yaml: no such file"),
        ("extends: [params.yaml]\n", "mine.yaml: extends = ['params.yaml']: must be the name of one parameters file"),
        ("extends: ''\n", "mine.yaml: extends = '': must be the name of one parameters file"),
        ("extends: .\n", "mine.yaml: extends: {folder}: cannot be read: Is a directory"),
        (
            "extends: params.yaml\nencoding: {copies: {odio: null}}\n",
            "mine.yaml: encoding.copies.odio = null: there is no such key to remove (did you mean `audio`? remove the",
        ),
        ("extends: params.yaml\ntraining: {epochs: 0}\n", "mine.yaml: training.epochs = 0: input should be greater"),
        ("extends: params.yaml\ntraining: {epocs: 3}\n", "mine.yaml: training.epocs: unknown key; did you mean `epoc"),
        ("extends: params.yaml\ntraining: null\n", "mine.yaml: training: missing"),
        ("extends: params.yaml\nseed: 2026-01-01\n", "mine.yaml: seed = 2026-01-01: is a date"),
    ],
)
def test_what_is_wrong_with_an_extending_file_is_said_by_its_name(folder: Path, text: str, message: str) -> None:
    assert message.format(folder=folder) in refusal(put(folder, "mine.yaml", text))


def test_a_cycle_of_several_files_is_refused_naming_all_of_them(folder: Path) -> None:
    put(folder, "b.yaml", "extends: c.yaml\n")
    put(folder, "c.yaml", "extends: ./mine.yaml\n")
    message = refusal(put(folder, "mine.yaml", "extends: b.yaml\n"))
    assert "c.yaml: extends: leads back to itself" in message
    assert "mine.yaml extends" in message and "b.yaml extends" in message


def test_the_file_that_holds_the_bad_value_is_named_not_the_one_that_was_asked_for(folder: Path) -> None:
    base = put(folder, "base.yaml", "extends: params.yaml\ntraining: {batch: 0}\n")
    mine = put(folder, "mine.yaml", "extends: base.yaml\nseed: 3\n")
    assert refusal(mine).startswith(f"{base}: training.batch = 0: ")
    put(folder, "mine.yaml", "extends: base.yaml\nseed: -3\n")
    assert f"{base}: training.batch = 0: " in refusal(mine) and f"{mine}: seed = -3: " in refusal(mine)


def test_a_file_below_that_holds_no_parameters_is_refused(folder: Path) -> None:
    put(folder, "list.yaml", "- 1\n")
    assert "list.yaml: holds no parameters" in refusal(put(folder, "mine.yaml", "extends: list.yaml\n"))


def test_what_is_written_out_whole_reads_back_as_the_same_parameters(folder: Path) -> None:
    mine = put(folder, "mine.yaml", "extends: params.yaml\ntraining: {epochs: 3}\n")
    out = folder / "whole.yaml"
    assert CliRunner().invoke(app, ["params", "--params", str(mine), "--out", str(out)]).exit_code == 0
    assert "extends" not in out.read_text()
    assert load_params(out) == load_params(mine)
    whole = yaml.safe_load((ROOT / "params.yaml").read_text())  # defaults that it names stay: DVC compares the text
    assert yaml.safe_load(out.read_text()) == whole | {"training": whole["training"] | {"epochs": 3}}
    assert check_params(yaml.safe_load(write_yaml(WHOLE))) == WHOLE
    shown = CliRunner().invoke(app, ["params", "--params", str(mine)]).output
    assert json.loads(shown)["training"]["epochs"] == 3


def changed(**values: Any) -> dict[str, Any]:
    """params.yaml with these values by dotted name (`__` for the dot)."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in values.items():
        *sections, last = key.split("__")
        place = raw
        for section in sections:
            place = place[section]
        place[last] = value
    return raw


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"validation__audio__rates_hz": [16000, 4000]},
            "encoding.audio.high_hz = 3800: validation.audio.rates_hz allows recordings of 4,000 Hz, which hold no "
            "frequencies above 2000 Hz; lower high_hz to that, or take 4000 out of rates_hz",
        ),
        ({"encoding__audio__high_hz": 4001.0}, "encoding.audio.high_hz = 4001: validation.audio.rates_hz allows"),
        ({"encoding__audio__thresholds_db": [0.0, 6.0]}, "encoding.audio.thresholds_db = [0.0, 6.0]: they are"),
        (
            {"encoding__step_ms": 5000.0, "validation__imu__duration_s": [0.05, 4.0]},
            "validation.imu.duration_s allows 4 s at most, less than one step: encoding.step_ms = 5000",
        ),
        (
            {"encoding__step_ms": 4.0},
            "encoding.onset.look_back_ms = 250: a signal that begins after the window of 200 ms",
        ),
        (
            {"validation__imu__max_gap_s": 0.05, "validation__imu__rate_hz": [1.0, 10.0]},
            "validation.imu.max_gap_s = 0.05: samples are 0.1 s apart at the highest rate",
        ),
        (
            {"encoding__imu__planes": [{"x": "acc_x", "y": "acc_x", "directions": 8, "floor": 0.1}]},
            "encoding.imu.planes.0: x and y are both acc_x",
        ),
        (
            {"encoding__imu__planes": [{"x": "acc_x", "y": "turn_rate", "directions": 8, "floor": 0.1}]},
            "encoding.imu.planes.0: acc_x [m/s^2] and turn_rate [rad/s] have different units",
        ),
        (
            {"network__branch": {"audio": 64, "imu": 64}},
            "encoding.copies.events = 40: network.branch has audio, imu only, so nothing would use them",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused_when_they_are_read(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as refused:
        check_params(changed(**values), "params.yaml")
    assert f"params.yaml: {message}" in str(refused.value)


def test_the_highest_band_may_lie_at_half_of_the_lowest_sample_rate() -> None:
    assert check_params(changed(encoding__audio__high_hz=4000.0)).encoding.audio.high_hz == 4000


def test_a_contradiction_is_said_of_the_file_that_holds_the_value_to_change(folder: Path) -> None:
    put(folder, "base.yaml", "extends: params.yaml\nencoding: {audio: {high_hz: 5000.0}}\n")
    message = refusal(put(folder, "mine.yaml", "extends: base.yaml\nseed: 1\n"))
    assert message.startswith(f"{folder / 'base.yaml'}: encoding.audio.high_hz = 5000: ")
