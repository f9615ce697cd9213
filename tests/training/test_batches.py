"""What the network sees: validation apart from fit, classes balanced, senses dropped in the share asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snn_fusion.config import Params, check_params
from snn_fusion.data.manifest import Row, read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.errors import BadInput
from snn_fusion.training.batches import MISSING, TrainingData, epoch_samples, training_data
from snn_fusion.workspace import Workspace
from tests.training.conftest import LABELS, raw_params


def rows_of(ready: Workspace) -> tuple[list[Row], list[Row]]:
    return tuple(read_manifest(ready.path("validated", f"{name}.parquet")) for name in ("joined", "recordings"))


@pytest.fixture
def stores(ready: Workspace) -> dict[str, SpikeStore]:
    return {s: SpikeStore.open(ready.path("encoded", f"{s}.arrow")) for s in SENSES}


@pytest.fixture
def data(ready: Workspace, small: Params, stores: dict[str, SpikeStore]) -> TrainingData:
    return training_data(small, stores, *rows_of(ready))


def paths(data: TrainingData, rows: np.ndarray, sense: str) -> set[str]:
    return set(data.stores[sense].meta["path"][rows[rows != MISSING]])


def test_no_recording_and_no_variation_of_it_is_in_both_fit_and_validation(data: TrainingData, small: Params) -> None:
    seen = [epoch_samples(data, small, epoch) for epoch in range(10)]
    for sense in SENSES:
        used = set().union(*(paths(data, s.recording[sense], sense) for s in seen))
        kept = paths(data, data.validation.recording[sense], sense)
        assert used and kept and not used & kept


def test_validation_keeps_whole_subjects_where_the_split_promises_disjoint_subjects(
    data: TrainingData, small: Params
) -> None:
    assert small.validation.disjoint_subjects == ["imu"]
    subject = {path: int(path.rsplit("/", 1)[1][1:]) % 4 for path in data.stores["imu"].meta["path"]}
    kept = {subject[p] for p in paths(data, data.validation.recording["imu"], "imu")}
    fit = {subject[p] for p in paths(data, data.fit.recording["imu"], "imu")}
    assert kept and fit and not kept & fit


def test_test_recordings_are_never_touched(ready: Workspace, small: Params, stores) -> None:
    joined, single = rows_of(ready)
    hidden = {ref.path for row in joined[::5] for ref in row.senses.values()}
    joined = [
        replace(row, split="test") if any(r.path in hidden for r in row.senses.values()) else row for row in joined
    ]
    data = training_data(small, stores, joined, single)
    for sense in SENSES:
        for samples in (data.fit, data.validation, *(epoch_samples(data, small, e) for e in range(5))):
            assert not paths(data, samples.recording[sense], sense) & hidden


def test_samples_hold_every_class_equally_often_and_each_sense_has_the_samples_label(
    data: TrainingData, small: Params
) -> None:
    samples = epoch_samples(data, small, 0)
    assert np.bincount(samples.label).tolist() == [16, 16, 16]
    for sense, rows in samples.recording.items():
        for row, label in zip(rows, samples.label, strict=True):
            assert row == MISSING or data.stores[sense].meta["path"][row].split("/")[1][0] == LABELS[label]


def test_an_epoch_is_a_function_of_seed_and_epoch(data: TrainingData, small: Params) -> None:
    first, again, other = (epoch_samples(data, small, epoch) for epoch in (3, 3, 4))
    for sense in SENSES:
        np.testing.assert_array_equal(first.recording[sense], again.recording[sense])
    assert any((first.recording[s] != other.recording[s]).any() for s in SENSES)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_senses_are_missing_in_the_share_asked_for_and_never_all(data: TrainingData, share: float) -> None:
    params = check_params(raw_params(sense_dropout=share, recordings_per_epoch=3000))
    samples = epoch_samples(data, params, 0)
    there = np.stack([samples.recording[s] != MISSING for s in SENSES]).sum(0)
    assert there.min() >= 1
    assert np.mean(there < 3) == pytest.approx(share, abs=0.04)


def test_recordings_that_came_with_several_senses_stay_together(ready: Workspace, small: Params, stores) -> None:
    joined, single = rows_of(ready)
    native = [replace(row, source="lab") for row in joined]
    data = training_data(small, stores, native, single)
    together = {tuple(sorted(ref.path for ref in row.senses.values())) for row in native}
    full = check_params(raw_params(sense_dropout=0.0))
    samples = epoch_samples(data, full, 0)
    for i in range(len(samples)):
        met = tuple(sorted(data.stores[s].meta["path"][samples.recording[s][i]] for s in SENSES))
        assert met in together


def test_one_sense_alone_is_enough(ready: Workspace, small: Params, stores) -> None:
    _, single = rows_of(ready)
    audio = [row for row in single if "audio" in row.senses]
    data = training_data(small, {"audio": stores["audio"]}, [], audio)
    assert data.senses == ("audio",)
    assert set(data.spikes(epoch_samples(data, small, 0))) == {"audio"}


def test_a_class_without_enough_recordings_is_named(ready: Workspace, small: Params, stores) -> None:
    joined, single = rows_of(ready)
    lone = [row for row in joined if row.label != "b"] + [row for row in joined if row.label == "b"][:1]
    with pytest.raises(BadInput, match=r"no recording of class b is left for the (fit|validation) part"):
        training_data(small, stores, lone, single)


def test_no_training_recordings_is_an_error(ready: Workspace, small: Params, stores) -> None:
    with pytest.raises(BadInput, match="no training recordings"):
        training_data(small, stores, [], [])


def by_subjects(rows: list[Row], subjects: dict[str, list[str]]) -> list[Row]:
    """Rows of the IMU alone, those of a label by these subjects in turn."""
    numbers = dict.fromkeys(subjects, 0)
    found = []
    for row in rows:
        if "imu" in row.senses:
            whose = subjects[row.label][numbers[row.label] % len(subjects[row.label])]
            numbers[row.label] += 1
            found.append(replace(row, senses={"imu": replace(row.senses["imu"], subject=whose)}))
    return found


EVERYBODY = [f"s{k}" for k in range(10)]


def test_a_class_of_few_subjects_is_refused_with_every_classs_counts_and_a_share_that_helps(
    ready: Workspace, small: Params, stores
) -> None:
    rows = by_subjects(rows_of(ready)[1], {"a": EVERYBODY, "b": EVERYBODY[:3], "c": EVERYBODY})
    with pytest.raises(BadInput) as refused:
        training_data(small, {"imu": stores["imu"]}, [], rows)
    message = str(refused.value)
    assert "no recording of class b is left for the validation part" in message
    assert "class a: imu 16 by 10 subjects, kept whole" in message
    assert "class b: imu 16 by 3 subjects, kept whole" in message
    share = float(message.rsplit("data.validation_share: ", 1)[1].rstrip(")"))
    data = small.data.model_copy(update={"validation_share": share})
    training_data(small.model_copy(update={"data": data}), {"imu": stores["imu"]}, [], rows)


def test_a_class_of_one_subject_is_refused_with_the_senses_whose_subjects_are_kept_whole(
    ready: Workspace, small: Params, stores
) -> None:
    rows = by_subjects(rows_of(ready)[1], {"a": EVERYBODY, "b": ["s0"], "c": EVERYBODY})
    with pytest.raises(BadInput) as refused:
        training_data(small, {"imu": stores["imu"]}, [], rows)
    assert "class b: imu 16 by 1 subject, kept whole" in str(refused.value)
    assert "import recordings of class b by more subjects" in refused.value.remedy
    assert "set validation.disjoint_subjects: []" in refused.value.remedy
    checks = small.validation.model_copy(update={"disjoint_subjects": []})
    training_data(small.model_copy(update={"validation": checks}), {"imu": stores["imu"]}, [], rows)


def test_a_class_of_one_recording_is_refused_with_what_to_import(ready: Workspace, small: Params, stores) -> None:
    audio = [row for row in rows_of(ready)[1] if "audio" in row.senses]
    lone = [row for row in audio if row.label != "b"] + [row for row in audio if row.label == "b"][:1]
    with pytest.raises(BadInput, match="class b: audio 1 by 1 subject") as refused:
        training_data(small, {"audio": stores["audio"]}, [], lone)
    assert refused.value.remedy == "import more recordings of class b, by more subjects"
