"""A recording that begins late, or on another clock, is answered as if it did not; the answer says what it is about."""

from __future__ import annotations

import pytest

from snn_fusion.data.origin import earlier
from tests.encoding.late import late
from tests.serving.made import CODE, as_json, recording


def predicted(client, signals):
    return client.post("/v1/predict", json=as_json(signals)).json()


# A camera's first event that far before the rest would be left over from before the recording.
@pytest.mark.parametrize(("sense", "us"), [("audio", 1_200_000), ("events", 900_000), ("imu", 1_200_000)])
def test_a_recording_that_begins_late_is_answered_from_its_onset(client, sense, us) -> None:
    given = recording(5, sense)
    plain, after_rest = predicted(client, given), predicted(client, {sense: late(given[sense], us, 0.0)})
    if sense != "events":  # whose first event is not on the grid of hops: nearly the same spikes, in a random network
        assert after_rest["scores"] == plain["scores"]
    assert (plain["onset"], after_rest["onset"]) == ("at once", "later")
    assert after_rest["used"][sense]["from_s"] == pytest.approx(us / 1e6, abs=0.02)
    assert after_rest["used"][sense]["share"] > 0.97


@pytest.mark.parametrize("clock_us", [1_100_000, 30_000_000, 1_732_800_000_000_000])
def test_the_clock_of_the_sensors_changes_no_score(client, clock_us: int) -> None:
    given = recording(6, "events", "imu")
    later = {sense: earlier(one, -clock_us) for sense, one in given.items()}
    assert predicted(client, later)["scores"] == predicted(client, given)["scores"]


def test_the_answer_says_how_much_of_a_long_recording_it_is_about(client) -> None:
    found = predicted(client, recording(7, "audio", seconds=4.0))["used"]["audio"]
    assert (found["from_s"], found["to_s"], found["of_s"]) == (0.0, CODE.steps * CODE.step_ms / 1000, 4.0)
    assert found["share"] == pytest.approx(0.25, abs=0.1)


def test_an_answer_says_that_the_senses_were_taken_to_have_different_clocks(client) -> None:
    given = recording(6, "events", "imu")
    other = given | {"imu": earlier(given["imu"], -1_732_800_000_000_000)}
    plain, found = predicted(client, given), predicted(client, other)
    assert found["used"]["imu"] == plain["used"]["imu"] and found["senses"] == ["events", "imu"]
    assert "imu is 1,732,800,000 s after that of events" in found["clocks"]
    assert "clocks" not in plain
