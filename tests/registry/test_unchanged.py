"""`package` with nothing to do does nothing, and whatever may have changed meanwhile is looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snn_fusion.registry import unchanged
from snn_fusion.registry.unchanged import unless_unchanged
from snn_fusion.workspace import Workspace


class Work:
    """Something done to a registry whose state is a number; `meanwhile`: what others add to it during a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.done, self.calls, self.meanwhile = 0, -1, 0, 0
        monkeypatch.setattr(unchanged, "_state", lambda *_: str(self.state))

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        seen, self.state, self.meanwhile = self.state, self.state + self.meanwhile, 0
        before, self.done = self.done, seen
        return {"of": seen, "up_to_date": before == seen}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def test_nothing_is_done_until_something_changes(workspace: Workspace, work: Work) -> None:
    assert unless_unchanged("it", workspace, work) == {"of": 0, "up_to_date": False}
    calls = work.calls
    assert unless_unchanged("it", workspace, work) == {"of": 0, "up_to_date": True} and work.calls == calls
    work.state = 1
    assert unless_unchanged("it", workspace, work) == {"of": 1, "up_to_date": False}


@pytest.mark.parametrize("call", [1, 2])
def test_what_changes_during_the_work_is_seen_the_next_time(workspace: Workspace, work: Work, call: int) -> None:
    unless_unchanged("it", workspace, work)
    work.state, work.meanwhile = 1, 1
    if call == 2:
        work()  # so that the change comes while there is nothing to do
        work.meanwhile = 1
    unless_unchanged("it", workspace, work)
    found = unless_unchanged("it", workspace, work)
    assert found["of"] == work.state


@pytest.mark.parametrize("damage", ["", "[]", "{}", "{"])
def test_a_damaged_note_is_no_note(workspace: Workspace, work: Work, damage: str) -> None:
    unless_unchanged("it", workspace, work)
    note: Path = workspace.path("cache", "unchanged", "it.json")
    note.write_text(damage)
    calls = work.calls
    assert unless_unchanged("it", workspace, work)["up_to_date"] and work.calls > calls
