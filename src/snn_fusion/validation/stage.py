"""The stage `validate`: imported recordings in; good ones, joined ones and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.data.dataset import select_sources
from snn_fusion.data.imported import Imported, check_there, collect, read_imported
from snn_fusion.workspace import Workspace, code_digest, digest, file_digest, write_atomic

REFERENCE = ("reference", "profile.json")  # training profile of the champion, put there by `accept_profile`


def validate(params: Params, ws: Workspace) -> dict[str, Any]:
    """Check every recording and the data set; set bad recordings aside; join single senses by label.

    Writes recordings.parquet, joined.parquet, quarantine.csv, validation.json, validation.html, profile.json and
    imported/, which says what was imported of the sources that are used: later stages work on that, whatever is
    imported meanwhile.
    Raises BadInput if too many recordings are bad or the data set as a whole is unusable; the report of that is
    left in validated-failed/ and the earlier validated/ stays.
    """
    seen: list[Imported] = []

    def inputs() -> dict[str, str]:
        imported = _used(params, ws)
        seen.append(imported)
        return {
            "recordings": imported.digest,
            "params": digest(params.data, params.validation, _wanted(params), _window(params), params.seed),
            "reference": _reference(ws),
            "code": code_digest("validation", "encoding", "data"),
        }

    def work(out: Path) -> dict[str, Any]:
        from snn_fusion.validation.work import check_recordings

        return check_recordings(params, ws, seen[-1], ws.path(*REFERENCE), out)

    result = ws.build("validated", inputs, work)
    collect(ws)
    return result


def _used(params: Params, ws: Workspace) -> Imported:
    """The imported sources that `data.sources` names, as they are now: what the whole run works on.

    Raises BadInput if nothing was imported, or one of them is not there.
    """
    imported = read_imported(ws)
    if not imported.rows:
        ws.stamp("recordings")  # says that nothing was imported
    used = imported.only({row.source for row in select_sources(imported.rows, params.data.sources)})
    check_there(ws, used)
    return used


def _reference(ws: Workspace) -> str:
    """Digest of the profile to compare the training data with; "" where there is none.

    When a network trained on these very data becomes champion, their profile becomes the reference. A comparison with
    itself says nothing, so that is no reason to measure every recording again: the earlier reference stays the input.
    """
    reference = ws.path(*REFERENCE)
    if not reference.exists():
        return ""
    current, own = file_digest(reference), ws.path("validated", "profile.json")
    if own.exists() and file_digest(own) == current:
        return str(ws.stamp("validated")["inputs"]["reference"])
    return current


def accept_profile(ws: Workspace, profile: Path) -> None:
    """Make a validated/profile.json the reference that later training data are compared with.

    Called when a model becomes champion, with the profile of the data that it was trained on. Raises BadInput if
    the file is not a profile.
    """
    from snn_fusion.validation.drift import read_profile

    read_profile(profile)
    write_atomic(ws.path(*REFERENCE), profile.read_bytes())


def _wanted(params: Params) -> list[tuple[str, str]]:
    return [(c.name, c.unit) for c in params.encoding.imu.channels]


def _window(params: Params) -> list[object]:
    """What decides how much of a recording lies in the window."""
    code = params.encoding
    return [code.step_ms, code.steps, code.onset and code.onset.model_dump(), sorted(params.network.branch)]
