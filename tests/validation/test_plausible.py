"""Labels that are not those of the recordings, and clocks that disagree, are found; right ones give no warning."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from snn_fusion.config import Params, load_params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense
from snn_fusion.data.synthetic import generate
from snn_fusion.validation.plausible import label_tests, offsets
from snn_fusion.validation.plausible_report import plausible_section
from snn_fusion.validation.stage import validate
from snn_fusion.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = load_params(ROOT / "params.yaml").validation.max_offset_s
Change = Callable[[list[Row]], list[Row]]


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 recordings of three senses by twelve people, two of whom are the test split."""
    made = tmp_path_factory.mktemp("data") / "lab"
    generate(made, seed=5, recordings_per_label=12)
    return made


@pytest.fixture(scope="module")
def rows(takes: Path) -> list[Row]:
    found, damaged = read_folder(takes)
    assert not damaged
    return found


def doubts(takes: Path, rows: list[Row]) -> set[tuple[str, str]]:
    """(sense, split) of every test that doubts the labels."""
    return {(test.sense, test.split) for test in label_tests(takes, rows) if test.doubtful}


def permuted(rows: list[Row], split: str) -> list[Row]:
    labels = [row.label for row in rows if row.split == split]
    fresh = iter(np.random.default_rng(0).permutation(labels).tolist())
    return [replace(row, label=next(fresh)) if row.split == split else row for row in rows]


def with_senses_of_others(rows: list[Row], sense: Sense, split: str) -> list[Row]:
    """One sense's files dealt out anew among the recordings of a split."""
    refs = [row.senses[sense] for row in rows if row.split == split]
    fresh = iter(np.random.default_rng(0).permutation(len(refs)).tolist())
    return [
        replace(row, senses={**row.senses, sense: refs[next(fresh)]}) if row.split == split else row for row in rows
    ]


def test_right_labels_are_told_far_better_than_chance(takes: Path, rows: list[Row]) -> None:
    tests = label_tests(takes, rows)
    assert {(one.sense, one.split) for one in tests} == set(product(("audio", "events", "imu"), ("train", "test")))
    assert all(t.accuracy >= 0.7 and t.chance == pytest.approx(0.1) for t in tests)
    assert not any(t.doubtful or t.exchanged for t in tests)


@pytest.mark.parametrize("split", ["train", "test"])
def test_permuted_labels_of_a_split_are_doubted_in_every_sense(takes: Path, rows: list[Row], split: str) -> None:
    found = doubts(takes, permuted(rows, split))
    assert found >= {(sense, split) for sense in ("audio", "events", "imu")}


@pytest.mark.parametrize("sense", ["audio", "events", "imu"])
def test_permuted_files_of_one_sense_are_doubted_in_that_sense_alone(
    takes: Path, rows: list[Row], sense: Sense
) -> None:
    found = doubts(takes, with_senses_of_others(rows, sense, "train"))
    assert (sense, "train") in found and {one for one, _ in found} == {sense}


def test_permuted_labels_of_one_source_are_doubted_in_that_source_alone(takes: Path, rows: list[Row]) -> None:
    other = [replace(row, source="other") for row in permuted(rows, "train")]
    found = {(test.source, test.split) for test in label_tests(takes, [*rows, *other]) if test.doubtful}
    assert ("other", "train") in found and {source for source, _ in found} == {"other"}


def test_two_labels_exchanged_in_the_test_split_are_named(takes: Path, rows: list[Row]) -> None:
    swap = {"3": "7", "7": "3"}
    train = [row for row in rows if row.split == "train"]
    # Enough of each class to be sure of: the training people stand in for those of the test split.
    test = [replace(row, split="test", id=f"{row.id}-again", label=swap.get(row.label, row.label)) for row in train]
    found = [one for one in label_tests(takes, [*train, *test]) if one.exchanged]
    assert {one.sense for one in found} == {"audio", "events", "imu"}
    assert all(one.exchanged == (("3", "7"), ("7", "3")) and not one.doubtful for one in found)
    assert "'3' is taken for '7', '7' is taken for '3'" in str(found[0])


def test_too_few_recordings_are_not_judged(takes: Path, rows: list[Row]) -> None:
    few = [row for row in rows if row.split == "train" and row.label in "01"][:6]
    assert label_tests(takes, few) == []


def test_senses_on_one_clock_set_in_together(takes: Path, rows: list[Row]) -> None:
    found = offsets(takes, rows, ALLOWED)
    assert {frozenset((one.earlier, one.later)) for one in found} == {
        frozenset(pair) for pair in (("audio", "events"), ("audio", "imu"), ("events", "imu"))
    }
    assert all(one.n == 120 and 0 <= one.median < ALLOWED and not one.apart for one in found)


def shifted(takes: Path, folder: Path, seconds: Callable[[int], float]) -> list[Row]:
    """The takes with the IMU's clock this much late, by number of the recording."""
    found = []
    generate(folder, seed=5, recordings_per_label=2)
    for number, path in enumerate(sorted((folder / "imu").iterdir())):
        table = pq.read_table(path)
        name = next(one for one in table.column_names if one.startswith("t"))
        late = np.asarray(table[name]) + int(1e6 * seconds(number))
        pq.write_table(table.set_column(table.column_names.index(name), name, [late]), path)
    found, damaged = read_folder(folder)
    assert not damaged
    return found


def test_a_clock_offset_is_found_with_its_size(takes: Path, tmp_path: Path) -> None:
    rows = shifted(takes, tmp_path / "late", lambda _: 0.7)
    found = {(one.earlier, one.later): one for one in offsets(tmp_path / "late", rows, ALLOWED)}
    assert found["events", "imu"].apart and found["events", "imu"].median == pytest.approx(0.7, abs=0.03)
    assert found["audio", "imu"].apart and found["audio", "imu"].median == pytest.approx(0.6, abs=0.1)
    assert not found["events", "audio"].apart
    assert "imu sets in 0.7" in str(found["events", "imu"]) and "max_offset_s" in str(found["events", "imu"])


def test_clocks_that_are_early_as_often_as_late_are_found_too(takes: Path, tmp_path: Path) -> None:
    rows = shifted(takes, tmp_path / "both", lambda number: 1.0 if number % 2 else 0.0)
    found = {frozenset((one.earlier, one.later)): one for one in offsets(tmp_path / "both", rows, ALLOWED)}
    assert found[frozenset(("events", "imu"))].spread > 0.5


def test_the_stage_warns_with_numbers_and_goes_on(
    takes: Path, workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    folder = tmp_path / "lab"
    generate(folder, seed=5, recordings_per_label=6)
    with (folder / "recordings.csv").open() as file:
        lines = list(csv.DictReader(file))
    train = [line for line in lines if line["split"] == "train"]
    fresh = np.random.default_rng(1).permutation([line["audio"] for line in train]).tolist()
    for line, audio in zip(train, fresh, strict=True):
        line["audio"] = audio
    with (folder / "recordings.csv").open("w") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    lab = params.model_copy(update={"data": params.data.model_copy(update={"sources": ["lab"]})})
    import_recordings(lab, workspace, source=folder)
    result = validate(lab, workspace)
    (warning,) = [one for one in result["warnings"] if one.startswith("labels of lab, audio, train split: no better")]
    assert "recordings of 10 classes, and chance is 10.0%" in warning
    said = json.loads(workspace.path("validated", "validation.json").read_text())
    assert [one["sense"] for one in said["labels"] if one["doubtful"] and one["split"] == "train"] == ["audio"]
    assert {one["apart"] for one in said["offsets"]} == {False}
    assert "Labels and clocks" in workspace.path("validated", "validation.html").read_text()


def test_the_section_of_the_report_shows_names_as_text(takes: Path, rows: list[Row]) -> None:
    tests = [replace(one, source="<i>lab</i>", exchanged=(("<b>", "7"),)) for one in label_tests(takes, rows)[:1]]
    page = plausible_section(tests, [])
    assert "&lt;i&gt;lab" in page and "&lt;b&gt; for 7" in page and "<i>" not in page
    assert plausible_section([], []) == ""
