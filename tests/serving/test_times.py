"""Time stamps that no sensor gives, and senses that the window does not see, are refused by name or dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from snn_fusion.data.recording import EVENT, Audio, Events, Imu
from snn_fusion.serving import limits
from snn_fusion.serving.app import create
from snn_fusion.serving.settings import Settings
from tests.encoding.late import late
from tests.serving.made import as_json, comparable, recording
from tests.serving.test_stream import play, refusal
from tests.serving.watching import LOCAL

JUMP_US, S = 1_500_000_000, 1_000_000
ANSWERED = ("label", "scores", "used", "onset")


def events_at(times: Any) -> dict[str, Any]:
    events = np.zeros(len(times), EVENT)
    events["t"], events["x"], events["y"] = times, np.arange(len(times)) % 34, 5
    return as_json({"events": Events(events, 34, 34)})


def refused(client: TestClient, sent: dict[str, Any]) -> dict[str, Any]:
    """The problem, which is that of a batch too."""
    answer = client.post("/v1/predict", json=sent)
    assert answer.status_code == 422, answer.text
    other = client.post("/v1/predict/batch", json={"recordings": [sent]}).json()["answers"][0]
    found: dict[str, Any] = answer.json()["error"]
    assert (other["status"], other["error"]["problem"]) == (422, found["problem"])
    return found


@pytest.mark.parametrize("stale", [1, 40])
@pytest.mark.parametrize("before_us", [5 * S, -8 * S, 3_600 * S])
def test_stale_events_at_the_beginning_are_dropped_and_counted(client, stale: int, before_us: int) -> None:
    """They lie before the rest, or after it where a camera's clock was set back."""
    plain = recording(3, "events")
    here = 10 * S + max(before_us, 0)
    events = plain["events"].events.copy()
    events["t"] += here
    ahead = np.zeros(stale, EVENT)
    ahead["t"] = here - before_us
    sent = as_json({"events": Events(np.concatenate([ahead, events]), 34, 34)})
    found, wanted = (client.post("/v1/predict", json=one).json() for one in (sent, as_json(plain)))
    assert f"the first {stale} events were dropped: " in found["dropped"]["events"]
    assert {name: found[name] for name in ANSWERED} == {name: wanted[name] for name in ANSWERED}
    assert "dropped" not in wanted
    batch = client.post("/v1/predict/batch", json={"recordings": [sent]}).json()["answers"][0]
    assert comparable(batch) == comparable(found)


def test_a_jump_that_no_camera_makes_is_refused_with_event_time_and_remedy(client) -> None:
    error = refused(client, events_at([*range(0, 3000, 10), *range(JUMP_US, JUMP_US + 3000, 10)]))
    assert error["field"].endswith("events.t[300]")
    assert error["problem"] == f"at {JUMP_US} us comes 1,500 s after the one before"
    assert error["limit"].startswith("no camera is silent so long: cut the recording there")


def test_a_stream_refuses_the_same_jump_within_a_chunk_and_between_two(client) -> None:
    first, second = events_at(range(0, 3000, 10)), events_at(range(JUMP_US, JUMP_US + 3000, 10))
    both = events_at([*range(0, 3000, 10), *range(JUMP_US, JUMP_US + 3000, 10)])
    start = {"start": ["events", "imu"]}
    for field, messages in (("events.t[300]", [both]), ("events.t[0]", [first, second])):
        error = refusal(client, start, *messages)
        assert error["field"] == field and "1,500 s after the one before" in error["problem"]


@pytest.mark.parametrize("seconds", [limits.SPAN_US // S - 1, limits.SPAN_US // S + 1])
def test_a_recording_may_last_so_long_whatever_its_sense(client, seconds: int) -> None:
    rng, n = np.random.default_rng(0), 50
    pen = recording(1, "imu")["imu"]
    t = np.linspace(0, seconds * S, n).astype(np.int64)
    sound = Audio(0.1 * rng.standard_normal(seconds * 8000).clip(-1, 1).astype(np.float32), 8000)
    imu = Imu(t, rng.standard_normal((n, 4)).astype(np.float32), pen.channels, pen.units)
    sent = {"audio.samples": as_json({"audio": sound}), "imu.t[49]": as_json({"imu": imu})}
    for field, one in {**sent, "events.t[98]": events_at(np.linspace(0, seconds * S, 100))}.items():
        answer = client.post("/v1/spikes", json=one)
        assert answer.status_code == (200 if seconds < 60 else 422)
        if seconds > 60:
            assert answer.json()["error"]["field"] == field and answer.json()["error"]["limit"] == "60 s at most"


def test_a_stream_goes_on_by_so_much_a_message_and_so_long_in_all(client) -> None:
    names = recording(1, "imu")["imu"].channels

    def at(*seconds: int) -> dict[str, Any]:
        return {"imu": {"t": [s * S for s in seconds], "channels": {name: [0.5] * len(seconds) for name in names}}}

    start = {"start": ["events", "imu"]}
    error = refusal(client, start, at(0, 1), at(2, 62))
    assert (error["field"], error["limit"]) == ("imu.t[1]", "60 s at most")
    error = refusal(client, start, *(at(s, s + 1) for s in range(0, 700, 50)))
    assert (error["problem"], error["limit"]) == (f"{601 * S} us, 601 s after the first", "600 s at most")


def beginning_late() -> dict[str, Any]:
    """All senses, the sound three seconds after the others and faint noise before: the window is over by then."""
    given = recording(4)
    return as_json(given | {"audio": late(given["audio"], 3 * S)})


def test_a_sense_outside_the_window_is_refused_by_name_though_the_others_lie_in_it(client) -> None:
    error = refused(client, beginning_late())
    assert error["field"] == "audio" and error["problem"].endswith("in the window of 0 to 1 s, it lasts 4 s")
    assert float(error["problem"].partition("%")[0]) < 1
    assert error["limit"].startswith("at least 1%") and "encoding.steps" in error["limit"]
    last = play(client, [{"start": ["audio", "events", "imu"], **beginning_late(), "end": True}])[-1]
    assert last["status"] == 422 and last["error"]["problem"] == error["problem"]
    spikes = client.post("/v1/spikes", json=beginning_late())
    assert spikes.status_code == 422 and spikes.json()["error"]["problem"] == error["problem"]


def test_a_sense_behind_the_steps_that_there_is_time_for_is_rejected_and_the_others_decide(
    small_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole answer would see it, so that it is not at fault."""
    given = recording(4)
    sent = as_json(given | {"audio": late(given["audio"], S // 2)})
    with TestClient(create(Settings(cache=0), lambda _: small_model), LOCAL) as one:
        assert one.post("/v1/predict", json=sent).json()["senses"] == ["audio", "events", "imu"]
        monkeypatch.setattr("snn_fusion.serving.workers.Workers.share", lambda _: 0.4)
        found = one.post("/v1/predict", json=sent).json()
    assert (found["steps"], found["senses"]) == (20, ["events", "imu"])
    assert found["rejected"]["audio"].endswith("in the window of 0 to 0.4 s, it lasts 1.5 s")
