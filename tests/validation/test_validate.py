"""The stage: bad recordings set aside, unusable data sets refused, results in files."""

from __future__ import annotations

import csv
import json
import re
import shutil
import wave
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn_fusion.benchmark.speakers import recipe
from snn_fusion.benchmark.stage import split_rows
from snn_fusion.config import Params, check_params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import DATA_SET, read_manifest
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.plots import plot_recording
from snn_fusion.errors import BadInput
from snn_fusion.validation.report import STYLE
from snn_fusion.validation.stage import accept_profile, validate
from snn_fusion.workspace import Workspace, file_digest

Line = dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    generate(folder, seed=5, recordings_per_label=6)
    return folder


def with_params(params: Params, **changes: Any) -> Params:
    """params.yaml with `section.key` replaced (`__` for the dot), checked."""
    raw = json.loads(params.model_dump_json())
    for key, value in changes.items():
        *sections, last = key.split("__")
        at = raw
        for section in sections:
            at = at[section]
        at[last] = value
    return check_params(raw)


@pytest.fixture
def lab(params: Params) -> Params:
    return with_params(params, data__sources=["lab"], validation__max_bad_share=0.2)


def import_lab(
    made: Path, ws: Workspace, lab: Params, tmp_path: Path, change: Callable[[Path, list[Line]], None] | None = None
) -> None:
    """Import the made recordings as `lab`, after a change to their files or to the lines of recordings.csv."""
    folder = tmp_path / "lab"
    shutil.copytree(made, folder)
    if change:
        with (folder / "recordings.csv").open() as file:
            lines = list(csv.DictReader(file))
        change(folder, lines)
        with (folder / "recordings.csv").open("w") as file:
            writer = csv.DictWriter(file, lines[0].keys())
            writer.writeheader()
            writer.writerows(lines)
    import_recordings(lab, ws, source=folder, quarantine=True)


def silence(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.zeros(4000, "<i2").tobytes())


def bad_three(folder: Path, lines: list[Line]) -> None:
    """Line 0: silent, 2: ten events, 3: truncated (which import finds)."""
    silence(folder / lines[0]["audio"])
    events = folder / lines[2]["events"]
    events.write_bytes(events.read_bytes()[:50])
    sound = folder / lines[3]["audio"]
    sound.write_bytes(sound.read_bytes()[:1001])


def test_good_recordings_pass_and_come_joined(made: Path, workspace: Workspace, lab: Params, tmp_path: Path) -> None:
    import_lab(made, workspace, lab, tmp_path)
    result = validate(lab, workspace)
    assert result["recordings"] == {"audio": 60, "events": 60, "imu": 60}
    assert result["joined"] == {"train": 50, "test": 10}
    assert (result["quarantined"], result["warnings"], result["up_to_date"]) == (0, [], False)
    rows = read_manifest(workspace.path("validated", "recordings.parquet"))
    joined = read_manifest(workspace.path("validated", "joined.parquet"))
    assert {row.id for row in rows} == {row.id for row in joined}
    report = json.loads(workspace.path("validated", "validation.json").read_text())
    assert report["success"] and all(e["success"] for e in report["expectations"])
    assert validate(lab, workspace)["up_to_date"]


def test_imports_of_other_sources_and_of_the_same_leave_the_run_alone(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path)
    validate(lab, workspace)
    made_from, rows = workspace.stamp("validated"), split_rows(workspace)
    import_recordings(lab, workspace, source=shutil.copytree(made, tmp_path / "other"))
    assert validate(lab, workspace)["up_to_date"]  # nothing that it uses has changed
    again = tmp_path / "again"
    again.mkdir()
    import_lab(made, workspace, lab, again, lambda folder, lines: silence(folder / lines[0]["audio"]))
    recorded = recipe(lab, workspace)["recordings"]
    assert recorded == made_from["inputs"]["recordings"]
    for row in rows:  # what evaluate and benchmark read
        for ref in row.senses.values():
            assert file_digest(workspace.path("recordings", ref.path)) == ref.sha256
    assert not validate(lab, workspace)["up_to_date"]  # the next run takes them up
    assert recipe(lab, workspace)["recordings"] != recorded


def test_a_recording_of_a_source_that_is_not_in_use_is_told_from_a_missing_one(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path)
    validate(lab, workspace)
    other = shutil.copytree(made, tmp_path / "other")
    import_recordings(lab, workspace, source=other)
    with pytest.raises(BadInput, match=r"other/0_s0_0: imported, but not in data\.sources \(add other to .* validate`"):
        plot_recording(lab, workspace, "other/0_s0_0", tmp_path / "plot.png")
    with pytest.raises(BadInput, match=r"no recording 'other/none' \(ids look like lab/"):
        plot_recording(lab, workspace, "other/none", tmp_path / "plot.png")


def test_bad_recordings_are_set_aside_with_their_reasons(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path, bad_three)
    assert validate(lab, workspace)["quarantined"] == 3
    with workspace.path("validated", "quarantine.csv").open() as file:
        found = {one["file"]: one for one in csv.DictReader(file)}
    assert found["lab/audio/0_s0_0.wav"]["reasons"] == "silence: rms = 0, allowed at least 0.0005"
    assert found["lab/audio/0_s0_0.wav"]["id"] == "lab/0_s0_0"
    assert found["lab/events/0_s2_2.bin"]["reasons"].startswith("duration: duration_s = ")
    assert found["lab/audio/0_s3_3.wav"]["reasons"].startswith("unreadable: truncated: the header promises")
    kept = {row.id for row in read_manifest(workspace.path("validated", "recordings.parquet"))}
    assert len(kept) == 57
    assert not kept & {"lab/0_s0_0", "lab/0_s2_2", "lab/0_s3_3"}


def test_too_many_bad_recordings_stop_the_run_and_leave_what_was_there(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path, bad_three)
    validate(lab, workspace)
    before = workspace.digest("validated")
    with pytest.raises(BadInput) as caught:
        validate(with_params(lab, validation__max_bad_share=0.02), workspace)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "5.0% of the recordings of lab are bad (3 of 60), allowed 2.0% (validation.max_bad_share)" in message
    assert "unreadable (1), silence (1), duration (1)" in message
    listing = workspace.path("validated-failed", "quarantine.csv")
    assert str(listing) in message
    assert len(listing.read_text().splitlines()) == 4
    assert workspace.digest("validated") == before
    assert not workspace.path(".building", "validated").exists()
    validate(with_params(lab, validation__max_bad_share=0.1), workspace)
    assert not workspace.path("validated-failed").exists()


def change_subject(folder: Path, lines: list[Line]) -> None:
    lines[0]["subject"] = "s1"


def change_label(folder: Path, lines: list[Line]) -> None:
    """The only test recording of digit 3 becomes a digit that nobody trains on."""
    next(line for line in lines if line["label"] == "3" and line["split"] == "test")["label"] = "<i>drei</i>"


def drop_label(folder: Path, lines: list[Line]) -> None:
    lines[:] = [line for line in lines if line["label"] != "4" or line["split"] == "train"]


def drop_most(folder: Path, lines: list[Line]) -> None:
    spare = [line for line in lines if line["label"] == "5" and line["split"] == "train"][1:]
    lines[:] = [line for line in lines if line not in spare]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            change_subject,
            "imu subjects: s1 (lab): subject in several splits: splits = train and test, allowed train or",
        ),
        (change_label, "audio labels: label '<i>drei</i>': unknown label (no training recording): train = 0, allowed"),
        (change_label, "events labels: label '3': untested label: test = 0, allowed at least 1"),
        (drop_label, "imu labels: label '4': untested label: test = 0, allowed at least 1"),
        (drop_most, "audio balance: training split: class balance: class_ratio = 5, allowed at most 3"),
    ],
)
def test_an_unusable_data_set_is_refused(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path, change: Any, message: str
) -> None:
    import_lab(made, workspace, lab, tmp_path, change)
    with pytest.raises(BadInput) as caught:
        validate(lab, workspace)
    assert message in str(caught.value)
    assert "manifest.parquet" in caught.value.where
    assert not workspace.path("validated").exists()


def test_leaving_a_subject_out_promises_that_it_is_in_one_split(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path)
    validate(with_params(lab, data__split="leave-out:s2"), workspace)
    report = json.loads(workspace.path("validated", "validation.json").read_text())
    assert {e["suite"] for e in report["expectations"]} >= {"audio subjects", "events subjects", "imu subjects"}
    rows = read_manifest(workspace.path("validated", "recordings.parquet"))
    assert {row.subjects for row in rows if row.split == "test"} == {("s2",)}


def quieter(folder: Path, lines: list[Line]) -> None:
    """A quarter of the gain everywhere."""
    for line in lines:
        path = folder / line["audio"]
        with wave.open(str(path)) as sound:
            params, data = sound.getparams(), np.frombuffer(sound.readframes(10**9), "<i2")
        with wave.open(str(path), "wb") as sound:
            sound.setparams(params)
            sound.writeframes((data * 0.25).astype("<i2").tobytes())


def test_training_data_that_moved_away_from_the_champions_give_a_warning(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path)
    validate(lab, workspace)
    accept_profile(workspace, workspace.path("validated", "profile.json"))
    before = workspace.digest("validated", *DATA_SET)
    again = validate(lab, workspace)
    assert (again["up_to_date"], again["warnings"]) == (True, [])  # a comparison with itself says nothing
    assert workspace.digest("validated", *DATA_SET) == before  # so that the stages after it stay up to date
    import_lab(made, workspace, lab, tmp_path / "quieter", quieter)
    warnings = validate(lab, workspace)["warnings"]
    assert len(warnings) == 1
    assert warnings[0].startswith("drift: rms of audio, training against the champion's training: population")


class Links(HTMLParser):
    """Everything in a page that a browser would load or run, and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [
            f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "srcset", "data") or k.startswith("on")
        ]


def test_the_page_loads_nothing_and_shows_names_as_text(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    import_lab(made, workspace, lab, tmp_path, change_label)
    with pytest.raises(BadInput):
        validate(lab, workspace)
    page = workspace.path("validated-failed", "validation.html").read_text()
    links = Links()
    links.feed(page)
    assert links.found == []
    assert not links.tags & {"script", "link", "iframe", "img", "i"}
    assert not re.search(r"https?:|@import|url\(", page)
    assert "&lt;i&gt;drei&lt;/i&gt;" in page


def test_the_same_recordings_give_the_same_bytes(made: Path, workspace: Workspace, lab: Params, tmp_path: Path) -> None:
    import_lab(made, workspace, lab, tmp_path)
    validate(lab, workspace)
    first = workspace.digest("validated")
    shutil.rmtree(workspace.path("validated"))
    validate(lab, workspace)
    assert workspace.digest("validated") == first


def test_recordings_of_one_sense_are_used_as_they_are(
    made: Path, workspace: Workspace, lab: Params, tmp_path: Path
) -> None:
    def only_audio(folder: Path, lines: list[Line]) -> None:
        for line in lines:
            line["events"] = line["imu"] = ""

    import_lab(made, workspace, lab, tmp_path, only_audio)
    assert validate(lab, workspace)["joined"] == {"train": 50, "test": 10}


def test_the_public_recordings_all_pass(
    mirror: Path, workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_DATA_DIR", str(mirror))
    import_recordings(params, workspace)
    result = validate(params, workspace)
    assert (result["quarantined"], result["warnings"]) == (0, [])
    assert all(result["joined"].values())


def test_words_of_the_reports_tables_never_break_letter_by_letter() -> None:
    style = STYLE.read_text()
    assert "td, td code { overflow-wrap: normal; }" in style
    assert ".scroll { overflow-x: auto; }" in style and "min-width: 44rem" in style
