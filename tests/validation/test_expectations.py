"""Each expectation, through Great Expectations: a good recording passes, a bad one gets its reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snn_fusion.config import Params
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.validation.checks import (
    INSIDE,
    LABEL_CHECKS,
    SUBJECT_CHECKS,
    Check,
    manifest_checks,
    missing_channels,
    sense_checks,
)
from snn_fusion.validation.expectations import Validator
from snn_fusion.validation.measure import measure
from snn_fusion.validation.tables import Record
from tests.validation.made_signals import BAD, GOOD


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator()


def described(name: str, signal: Signal, params: Params) -> Record:
    measured: Record = {"id": name, "error": None, **measure(signal)}
    return measured | {"missing_channels": missing_channels(measured.get("channels"), params.encoding.imu.channels)}


def reasons(
    validator: Validator, checks: list[Check], records: list[Record], suite: str = "events"
) -> list[tuple[str, str]]:
    return [reason for outcome in validator.run(suite, checks, records) for reason in outcome.reasons]


@pytest.mark.parametrize(("sense", "bad", "message"), BAD, ids=[bad.__name__ for _, bad, _ in BAD])
def test_a_bad_recording_is_named_with_value_and_limit(
    validator: Validator, params: Params, sense: Sense, bad: Callable[[], Signal], message: str
) -> None:
    records = [described("good", GOOD[sense], params), described("bad", bad(), params)]
    assert ("bad", message) in (found := reasons(validator, sense_checks(params)[sense], records, sense))
    assert {name for name, _ in found} == {"bad"}


def test_every_check_of_a_recording_has_a_bad_case(params: Params) -> None:
    tried = {(sense, message.split(":")[0]) for sense, _, message in BAD}
    known = {(sense, check.says) for sense, checks in sense_checks(params).items() for check in checks}
    assert known - tried == {(sense, says) for sense in GOOD for says in ("unreadable", INSIDE.says)}


@pytest.mark.parametrize("sense", GOOD)
def test_a_recording_of_which_next_to_nothing_lies_in_the_window_is_named(
    sense: Sense, validator: Validator, params: Params
) -> None:
    good = described("good", GOOD[sense], params)
    records: list[Record] = [{**good, "used_share": 1.0}, {**good, "id": "bad", "used_share": 0.004}]
    ((name, reason),) = reasons(validator, sense_checks(params)[sense], records, sense)
    assert (name, reason) == ("bad", f"{INSIDE.says}: used_share = 0.004, allowed at least 0.01")


def test_a_file_that_cannot_be_read_gives_only_the_readers_reason(validator: Validator, params: Params) -> None:
    records: list[Record] = [described("good", GOOD["audio"], params), {"id": "bad", "error": "truncated: 3 bytes"}]
    found = reasons(validator, sense_checks(params)["audio"], records, "audio")
    assert found == [("bad", "unreadable: truncated: 3 bytes")]


def test_expectations_about_events_have_names_of_their_own(validator: Validator, params: Params) -> None:
    outcomes = validator.run("events", sense_checks(params)["events"], [described("a", GOOD["events"], params)])
    assert {
        "expect_event_times_to_not_decrease",
        "expect_event_coordinates_inside_sensor",
        "expect_event_polarities_in_set",
        "expect_event_rate_in_band",
        "expect_no_hot_pixel",
    } <= {outcome.expectation for outcome in outcomes}
    assert all(outcome.success for outcome in outcomes)


def test_rows_of_the_manifest(validator: Validator) -> None:
    records: list[Record] = [
        {"id": "a", "label": "1", "split": "train"},
        {"id": "a", "label": "1", "split": "test"},
        {"id": "b", "label": None, "split": "test"},
        {"id": "c", "label": "1", "split": "dev"},
    ]
    assert reasons(validator, manifest_checks(), records, "manifest") == [
        ("a", "duplicate id: id = a, allowed once"),
        ("a", "duplicate id: id = a, allowed once"),
        ("b", "label: label = nothing, allowed not empty"),
        ("c", "split: split = dev, allowed train or test"),
    ]


def test_a_subject_in_two_splits_and_a_label_in_one(validator: Validator) -> None:
    subjects: list[Record] = [{"id": "w1", "splits": "train"}, {"id": "w2", "splits": "train and test"}]
    assert reasons(validator, SUBJECT_CHECKS, subjects) == [
        ("w2", "subject in several splits: splits = train and test, allowed train or test")
    ]
    labels: list[Record] = [{"id": "label '1'", "train": 0, "test": 4}, {"id": "label '2'", "train": 4, "test": 0}]
    assert reasons(validator, LABEL_CHECKS, labels) == [
        ("label '1'", "unknown label (no training recording): train = 0, allowed at least 1"),
        ("label '2'", "untested label: test = 0, allowed at least 1"),
    ]
