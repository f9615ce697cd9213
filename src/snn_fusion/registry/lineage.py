"""What a trained network came from, as digests of content: the same on every machine and wherever files lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.data.dataset import SYNTHETIC
from snn_fusion.data.imported import SNAPSHOT, SOURCES
from snn_fusion.data.manifest import DATA_SET, Row, read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.workspace import Workspace, code_digest, digest, file_digest, project_root

TESTING_CODE = ("data", "encoding", "network", "benchmark")


@dataclass(frozen=True)
class DataSet:
    """The validated recordings and how they were joined. `origins`: each source's, as it was imported."""

    recordings: tuple[Row, ...]
    joined: tuple[Row, ...]
    origins: dict[str, Any]

    @property
    def digest(self) -> str:
        return digest(rows_digest(self.recordings), rows_digest(self.joined))

    @property
    def synthetic(self) -> bool:
        return any(row.source == SYNTHETIC for row in self.recordings)

    def profile(self, split: str) -> dict[str, Any]:
        """Counts of a split's recordings by sense, subject and label."""
        rows = [row for row in self.recordings if row.split == split]
        return {
            "recordings": {s: sum(row.has(s) for row in rows) for s in SENSES},
            "joined": sum(row.split == split for row in self.joined),
            "subjects": {s: len({row.senses[s].subject for row in rows if row.has(s)} - {""}) for s in SENSES},
            "labels": dict(sorted(Counter(row.label for row in rows).items())),
        }


def read_data_set(ws: Workspace) -> DataSet:
    """The data set in the workspace. Raises BadInput if it has not been validated."""
    ws.stamp("validated")
    recordings, joined = (tuple(read_manifest(ws.path("validated", name))) for name in DATA_SET)
    # recordings/: what was validated before validated/ had a snapshot of it.
    places = [ws.path("validated", SNAPSHOT, SOURCES), ws.path("recordings", SOURCES)]
    origins: dict[str, Any] = next((json.loads(one.read_text()) for one in places if one.exists()), {})
    return DataSet(recordings, joined, origins)


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 over ids, labels, splits and contents of recordings, in order."""
    return digest([[row.id, row.label, row.split, row.source, _contents(row)] for row in rows])


def network_digest(graph: Path, data: DataSet) -> str:
    """What a network is: weights, neurons, encoding and classes, and the recordings that it was trained on.

    Not the commit that trained it, nor the recordings that it is tested on: with others it is the same network.
    """
    meta = json.loads((graph / "graph.json").read_text())
    meta.pop("training")
    trained = [[row for row in rows if row.split != "test"] for rows in (data.recordings, data.joined)]
    return digest(meta, *map(rows_digest, trained))


def _contents(row: Row) -> list[Any]:
    return [[s, ref.sha256, ref.subject, ref.size] for s in SENSES if (ref := row.senses.get(s))]


def testing_digest(rows: Sequence[Row], params: Params) -> str:
    """What stored predictions depend on besides the network: recordings, drawn noise and joins, testing code."""
    return digest(rows_digest(rows), params.seed, code_digest(*TESTING_CODE))


def training_code(ws: Workspace) -> str:
    """Digest of the source that turned recordings into the workspace's weights, as its stages recorded it."""
    return digest([ws.stamp(stage)["inputs"].get("code") for stage in ("validated", "encoded", "trained")])


def lock_digest() -> str:
    """Digest of requirements.lock; `unknown` outside of a checkout."""
    path = project_root() / "requirements.lock"
    return file_digest(path) if path.exists() else "unknown"
