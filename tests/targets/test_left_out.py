"""A target whose SDK is not there is left out of all its stages at once."""

from __future__ import annotations

import pytest

from snn_fusion.config import Params
from snn_fusion.targets.stage import tune
from snn_fusion.workspace import Workspace


def test_tune_of_a_target_that_is_left_out_leaves_a_note_for_each_of_its_stages(
    params: Params, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DAG skips the later ones, and DVC wants the output of each."""
    monkeypatch.setenv("AKIDA", "no")
    for name in ("akida", "akida2"):
        said = {"target": name, "unavailable": "akida: left out (AKIDA=no)"}
        assert tune(params, workspace, name) == {**said, "up_to_date": name == "akida2"}
        for stage in ("tuned/akida", f"compiled/{name}", f"measured/{name}"):
            assert workspace.stamp(stage)["result"]["unavailable"] == said["unavailable"]
