"""The import, and how much of the recordings that come in lies in the window of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.fetch import say
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.validation.measure import Measurement
from snn_fusion.workspace import Workspace


def import_measured(
    params: Params, ws: Workspace, *, source: Path | None = None, name: str | None = None, quarantine: bool = False
) -> dict[str, Any]:
    """`import_recordings`, whose result also has `used`, the share of each source and sense that the network would see
    (as `validate` measures it), and `warnings`, which are said too, where that is noticeably less than all."""
    used = _Used(params.encoding)
    result = import_recordings(params, ws, source=source, name=name, quarantine=quarantine, hear=used.hear)
    result |= used.result()
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    return result


class _Used:
    """Measured while the files are read, since reading them again would take as long as the import."""

    def __init__(self, params: EncodingParams) -> None:
        self.params = params
        self._records: dict[str, dict[Sense, list[dict[str, Measurement]]]] = {}  # by source

    def hear(self, row: Row, signals: Mapping[Sense, Signal]) -> None:
        from snn_fusion.validation.used import measure_together  # takes a second, which an import of nothing saves

        of_source = self._records.setdefault(row.source, {})
        for sense, found in measure_together(signals, self.params).items():
            of_source.setdefault(sense, []).append({"source": row.source, **found})

    def result(self) -> dict[str, Any]:
        if not self._records:
            return {"used": {}, "warnings": []}
        from snn_fusion.validation.used import used_notes, used_summary

        used = {
            source: {sense: one["mean_share"] for sense, one in used_summary(of).items()}
            for source, of in self._records.items()
        }
        notes = [note for of in self._records.values() for note in used_notes(of, self.params)]
        return {"used": used, "warnings": notes}
