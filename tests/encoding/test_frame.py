"""The camera's frame goes from the recordings into the graph; others are refused or scaled where they are encoded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from snn_fusion.config import Params
from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.recording import EVENT, Events
from snn_fusion.encoding.encoder import encode
from snn_fusion.encoding.frame import trained_frame, with_frame
from snn_fusion.errors import BadInput
from snn_fusion.training.stage import framed
from snn_fusion.workspace import Workspace


def seen(width: int, height: int) -> Events:
    """The same corner of every frame, often enough to spike."""
    events = np.zeros(200, EVENT)
    events["t"] = np.arange(200) * 1000
    events["x"], events["y"] = width - 1, height - 1
    return Events(events, width, height)


def row(size: tuple[int, int] | None, split: str = "train") -> Row:
    return Row("a", "0", split, "lab", {"events": Ref("a.bin", "", "", size)})


def test_the_frame_is_that_of_the_training_recordings(tmp_path: Path) -> None:
    rows = [row((10, 20), "test"), Row("b", "0", "train", "lab", {}), row((346, 260)), row((34, 34))]
    assert trained_frame(rows, tmp_path) == (346, 260)
    assert trained_frame([row((10, 20), "test")], tmp_path) is None


def test_another_frame_is_refused_with_both_sizes_or_scaled(params: Params) -> None:
    strict = with_frame(params.encoding, (34, 34))
    whole = encode(seen(34, 34), strict)
    with pytest.raises(BadInput, match=r"frame of 68 x 34 pixels; the network is for 34 x 34 .*other_frames: scale"):
        encode(seen(68, 34), strict)
    mild = strict.model_copy(update={"events": strict.events.model_copy(update={"other_frames": "scale"})})
    np.testing.assert_array_equal(encode(seen(68, 34), mild).index, whole.index)
    assert encode(seen(68, 34), params.encoding).rows == params.encoding.steps  # no frame is known


def test_a_frame_that_the_parameters_name_is_kept(params: Params) -> None:
    named = params.encoding.model_copy(update={"events": params.encoding.events.model_copy(update={"frame": [8, 9]})})
    assert with_frame(named, (34, 34)).events.frame == [8, 9]
    assert with_frame(params.encoding, None) == params.encoding


def test_the_graph_gets_the_frame_that_the_stage_encode_found(params: Params, tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    ws.path("encoded").mkdir(parents=True)
    code = with_frame(params.encoding, (34, 20))
    ws.path("encoded", "encoding.json").write_text(json.dumps(code.model_dump(mode="json")))
    assert framed(params, ws).events.frame == [34, 20]
    ws.path("encoded", "encoding.json").write_text("{}")  # of a workspace that was encoded before this was recorded
    assert framed(params, ws).events.frame is None
