"""params.yaml: every wrong key and impossible value is refused, naming key, value and what is allowed."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from snn_fusion.config import Params, check_params, load_params
from snn_fusion.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
RAW: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def with_value(path: str, value: object) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    *sections, key = path.split(".")
    place: Any = raw
    for section in sections:
        place = place[int(section) if isinstance(place, list) else section]
    place[key] = value
    return raw


def refusal(raw: object) -> str:
    with pytest.raises(BadInput) as refused:
        check_params(raw, "params.yaml")
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_the_projects_own_params_hold() -> None:
    assert load_params(ROOT / "params.yaml").seed == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "seed = -1: input should be greater than or equal to 0"),
        ("seed", 2**32, "seed = 4294967296: input should be less than 4294967296"),
        ("seed", 1.5, "seed = 1.5: input should be a valid integer"),
        ("seed", "0", "seed = '0': input should be a valid integer"),
        ("seed", True, "seed = True: input should be a valid integer"),
        ("seed", None, "seed = None: input should be a valid integer"),
        ("data.sources", [], "data.sources = []: list should have at least 1 item after validation, not 0"),
        ("data.split", "random", "data.split = 'random': string should match pattern '^(official|leave-out:.+)$'"),
        ("data.validation_share", 0.5, "data.validation_share = 0.5: input should be less than 0.5"),
        ("data.validation_share", 0, "data.validation_share = 0: input should be greater than 0"),
        ("validation.max_bad_share", 1.1, "validation.max_bad_share = 1.1: input should be less than or equal to 1"),
        (
            "validation.disjoint_subjects",
            ["smell"],
            "validation.disjoint_subjects.0 = 'smell': input should be 'audio', 'events' or 'imu'",
        ),
        (
            "validation.audio.rates_hz",
            [0],
            "validation.audio.rates_hz.0 = 0: input should be greater than or equal to 1",
        ),
        ("validation.audio.duration_s", [1.0], "validation.audio.duration_s.1: missing"),
        (
            "validation.audio.duration_s",
            [2.0, 1.0],
            "validation.audio.duration_s = [2.0, 1.0]: the first value must be below the second, 2.0 is not below 1.0",
        ),
        (
            "validation.events.rate_hz",
            [float("nan"), 1.0],
            "validation.events.rate_hz.0 = nan: input should be a finite number",
        ),
        (
            "validation.max_class_ratio",
            0.5,
            "validation.max_class_ratio = 0.5: input should be greater than or equal to 1",
        ),
        ("data.sources", ["a", "b", "a"], "data.sources = ['a', 'b', 'a']: a more than once"),
        ("network.recurrent", ["imu", "imu"], "network.recurrent = ['imu', 'imu']: imu more than once"),
        (
            "validation.max_class_ratio",
            float("inf"),
            "validation.max_class_ratio = inf: input should be a finite number",
        ),
        (
            "encoding.events.counts",
            [65536],
            "encoding.events.counts.0 = 65536: input should be less than or equal to 65535",
        ),
        ("encoding.step_ms", 0.0004, "encoding.step_ms = 0.0004: input should be greater than or equal to 0.1"),
        ("encoding.step_ms", float("inf"), "encoding.step_ms = inf: input should be a finite number"),
        ("encoding.steps", 0, "encoding.steps = 0: input should be greater than or equal to 1"),
        ("encoding.taps", [0, -4], "encoding.taps.1 = -4: input should be greater than or equal to 0"),
        ("encoding.taps", [4, 0], "encoding.taps [4, 0] must ascend"),
        ("encoding.taps", [0, 50], "encoding.taps [0, 50] must end below steps 50"),
        ("encoding.audio.bands", 3, "encoding.audio.bands = 3: input should be greater than or equal to 4"),
        ("encoding.audio.low_hz", 9000.0, "encoding.audio.low_hz 9000.0 must be below high_hz 3800.0"),
        ("encoding.audio.thresholds_db", [-5.0, -36.0], "encoding.audio.thresholds_db [-5.0, -36.0] must ascend"),
        ("encoding.events.grid", 129, "encoding.events.grid = 129: input should be less than or equal to 128"),
        ("encoding.events.counts", [3, 1], "encoding.events.counts [3, 1] must ascend"),
        ("network.joint", 0, "network.joint = 0: input should be greater than or equal to 1"),
        ("network.branch", {}, "network.branch {} must name at least one sense"),
        (
            "network.recurrent",
            ["readout"],
            "network.recurrent.0 = 'readout': input should be 'audio', 'events', 'imu' or 'joint'",
        ),
        ("network.threshold", -1.0, "network.threshold = -1.0: input should be greater than 0"),
        ("training.epochs", 0, "training.epochs = 0: input should be greater than or equal to 1"),
        ("training.batch", "128", "training.batch = '128': input should be a valid integer"),
        ("training.learning_rate", "fast", "training.learning_rate = 'fast': input should be a valid number"),
        ("training.sense_dropout", 1.5, "training.sense_dropout = 1.5: input should be less than or equal to 1"),
        ("registry.model", "a model", "registry.model = 'a model': string should match pattern '^[A-Za-z0-9_.-]+$'"),
        ("registry.significance", 1.0, "registry.significance = 1.0: input should be less than 1"),
        ("registry.max_drop", -0.01, "registry.max_drop = -0.01: input should be greater than or equal to 0"),
    ],
)
def test_impossible_value_names_key_value_and_what_is_allowed(key: str, value: object, message: str) -> None:
    assert refusal(with_value(key, value)) == f"params.yaml: {message}"


LOW = {"low": 0.1, "high": 1.0}


@pytest.mark.parametrize(
    ("name", "dimension", "message"),
    [
        ("training.lerning_rate", LOW, "training.lerning_rate: there is no such parameter; there are network.branch.a"),
        ("encoding.steps", LOW, "encoding.steps: there is no such parameter"),
        ("network.branch.smell", LOW, "network.branch.smell: there is no such parameter"),
        ("training.sense_dropout", {"low": 1.0, "high": 0.1}, "training.sense_dropout.low 1.0 must be below high 0.1"),
        ("training.sense_dropout", {"low": 0.0, "high": 1.0, "log": True}, "low 0.0 must be above 0 where log is true"),
        ("training.sense_dropout", {"low": 0.0, "high": 1.5}, "high = 1.5: input should be less than or equal to 1"),
        ("training.batch", {"low": 8, "high": 8.5}, "training.batch.high = 8.5: input should be a valid integer"),
        ("network.joint", {"choices": [64, 0]}, "choices.1 = 0: input should be greater than or equal to 1"),
        ("network.joint", {"choices": [64, 64]}, "choices [64, 64] name [64] twice"),
        ("network.joint", {"choices": [64], "low": 3}, "choices leave no room for low, high, log"),
        ("network.joint", {"low": 3}, "low and high, or choices: one of these must be there"),
        ("network.recurrent", LOW, "network.recurrent.low = 0.1: input should be a valid array"),
    ],
)
def test_a_space_that_its_parameter_would_refuse_is_refused_at_once(
    name: str, dimension: dict[str, Any], message: str
) -> None:
    raw = with_value("search.trials", 3)
    raw["search"]["space"] = {name: dimension}
    text = refusal(raw)
    assert "params.yaml: search.space." in text and message in text


def section_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += [prefix + name, *section_names(field.annotation, f"{prefix}{name}.")]
    return names


@pytest.mark.parametrize("section", ["", *(f"{name}." for name in section_names(Params))])
def test_unknown_key_is_refused_in_every_section(section: str) -> None:
    assert f"{section}epocs: unknown key" in refusal(with_value(f"{section}epocs", 3))


@pytest.mark.parametrize("section", section_names(Params))
def test_missing_section_is_named(section: str) -> None:
    raw = copy.deepcopy(RAW)
    *outer, last = section.split(".")
    place = raw
    for name in outer:
        place = place[name]
    del place[last]
    assert f"{section}: missing" in refusal(raw)


def test_all_mistakes_are_listed_at_once() -> None:
    raw = with_value("seed", -1)
    raw["training"]["epochs"] = 0
    raw["network"]["joints"] = 64
    message = refusal(raw)
    assert all(part in message for part in ("seed = -1", "training.epochs = 0", "network.joints: unknown key"))


@pytest.mark.parametrize("raw", [None, [], "epochs: 3", 4])
def test_a_file_that_is_not_a_mapping_is_refused(raw: object) -> None:
    assert "the file" in refusal(raw)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: [0\n")
    with pytest.raises(BadInput, match=r"mine\.yaml: not YAML"):
        load_params(file)


def test_a_file_that_is_not_there_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.yaml: no such file \(.*--params"):
        load_params(tmp_path / "absent.yaml")


def test_a_python_object_in_the_file_is_not_built(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(BadInput, match="not YAML"):
        load_params(file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2026-01-01", "params.yaml: training.seed = 2026-01-01: is a date (only plain values"),
        ("!!set {a, b}", "params.yaml: training.seed = {"),
        ("!!binary aGk=", "params.yaml: training.seed = b'hi': is a bytes (only plain values"),
        ("{1: 2}", "params.yaml: training.seed.1: a key must be text"),
    ],
)
def test_a_value_that_json_does_not_know_is_refused_naming_file_and_key(value: str, message: str) -> None:
    assert message in refusal(yaml.safe_load(f"training: {{seed: {value}}}"))


@pytest.mark.parametrize(
    "key",
    [
        *("network.joint", "network.branch.audio", "encoding.steps", "data.most_per_class"),
        *("training.epochs", "training.batch", "training.recordings_per_epoch", "training.patience"),
    ],
)
def test_a_value_no_machine_can_work_through_is_refused(key: str) -> None:
    assert f"{key} = 1000000000000: input should be less than or equal to" in refusal(with_value(key, 10**12))


def written(text: str, tmp_path: Path) -> str:
    """The refusal of params.yaml with this text."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as refused:
        load_params(file)
    assert str(file) in str(refused.value)
    return str(refused.value)


def test_a_key_that_is_there_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    assert "key `seed` is there twice, on line 1 and line 3" in written("seed: 0\ndata: {}\nseed: 1\n", tmp_path)
    assert "key `a` is there twice" in written("seed: {b: [{a: 1, a: 2}]}\n", tmp_path)


def test_yaml_that_contains_itself_or_grows_without_end_is_refused(tmp_path: Path) -> None:
    assert "seed.0: contains itself" in written("seed: &x [*x]\n", tmp_path)
    assert "data.a: contains itself" in written("data: &x {a: *x}\n", tmp_path)
    bomb = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    assert "more than 100,000 values" in written(bomb, tmp_path)
    assert "nested too deeply" in written("seed: " + "[" * 5000, tmp_path)


def test_a_date_or_number_that_cannot_be_is_not_yaml(tmp_path: Path) -> None:
    assert "not YAML" in written("seed: 2026-13-45\n", tmp_path)
    assert "not YAML" in written("seed: " + "1" * 5000, tmp_path)


def test_anchors_and_merge_keys_may_be_used(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("duration_s: [0.05, 10.0]", "duration_s: &seconds [0.05, 10.0]", 1)
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("duration_s: [0.05, 10.0]", "duration_s: *seconds", 1))
    assert load_params(file) == load_params(ROOT / "params.yaml")


def test_a_folder_for_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read: Is a directory \(.*--params"):
        load_params(tmp_path)


def test_an_unknown_key_comes_with_the_nearest_known_one() -> None:
    assert "training.epocs: unknown key; did you mean `epochs`?" in refusal(with_value("training.epocs", 3))
    assert "training.joint: unknown key; did you mean `network.joint`?" in refusal(with_value("training.joint", 3))
    channel = refusal(with_value("encoding.imu.channels.0.units", "m"))
    assert "encoding.imu.channels.0.units: unknown key; did you mean `unit`?" in channel


@pytest.mark.parametrize(
    ("text", "advice"), [("1e-9", "write 1.0e-9"), ("2.5e3", "write 2.5e+3"), ("-1E4", "write -1.0e+4")]
)
def test_a_power_of_ten_that_yaml_reads_as_text_comes_with_its_right_form(text: str, advice: str) -> None:
    assert f"(YAML reads it as text: {advice})" in refusal(with_value("training.learning_rate", yaml.safe_load(text)))


def key_names(model: type[BaseModel]) -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        names.add(name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                names |= key_names(part)
    return names


def test_the_documentation_names_every_key() -> None:
    documented = set(re.findall(r"`([a-z0-9_]+)`", (ROOT / "docs" / "params.md").read_text()))
    assert key_names(Params) - documented == set()
