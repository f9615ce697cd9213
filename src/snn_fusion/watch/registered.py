"""What the registry says, read and never changed: versions, champion, challenger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric

from snn_fusion.errors import BadInput
from snn_fusion.registry import versions
from snn_fusion.registry.seals import GRAPH_TAG
from snn_fusion.registry.tracking import connect, database, on_server
from snn_fusion.registry.versions import CHALLENGER, CHAMPION, RUN_FIRST, Version
from snn_fusion.watch.families import Values, gauge
from snn_fusion.workspace import Workspace

ACCURACY = "accuracy"  # tag of a version; as in registry.register, whose import takes a second
MOST_VERSIONS = 20  # whose accuracy is shown, the newest ones
PERCENT = re.compile(r"(?:(\w+) )?([\d.]+) %")  # of registry.describe.clean_accuracy


@dataclass(frozen=True)
class Registered:
    """The registry at one moment. `trained`: when the champion's training ended, in seconds since 1970."""

    versions: tuple[Version, ...]
    roles: dict[str, Version]
    trained: float | None


def read_registry(ws: Workspace, model: str) -> Registered:
    """Raises BadInput if the registry does not answer within seconds, or there is none yet: none is made."""
    if not on_server() and not database(ws).exists():
        raise BadInput(database(ws), "there is no registry yet", RUN_FIRST)
    client = connect(ws)
    every = tuple(versions.every(client, model))
    found = {role: versions.by_alias(client, model, role) for role in (CHAMPION, CHALLENGER)}
    roles = {role: version for role, version in found.items() if version is not None}
    ended = client.get_run(roles[CHAMPION].run_id).info.end_time if CHAMPION in roles else None
    return Registered(every, roles, ended / 1000 if ended else None)


def registry_metrics(found: Registered) -> Iterator[Metric]:
    yield gauge("versions", "Registered versions", len(found.versions))
    labels = ("role", "version", "digest", "synthetic")
    info: Values = {
        (role, one.number, one.tags.get(GRAPH_TAG, "")[:12], str(one.synthetic).lower()): 1.0
        for role, one in found.roles.items()
    }
    yield gauge("model_info", "1 for the champion and the challenger of the registry", info, labels)
    if champion := found.roles.get(CHAMPION):
        yield gauge("champion_version", "Number of the version that is champion", float(champion.number))
    if found.trained is not None:
        yield gauge("champion_trained_timestamp_seconds", "When the champion's training ended", found.trained)
    accuracy: Values = {
        (one.number, view): share
        for one in found.versions[-MOST_VERSIONS:]
        for view, share in accuracies(one.tags.get(ACCURACY, "")).items()
    }
    text = f"Share of right answers to clean recordings, of the newest {MOST_VERSIONS} versions, to 0.1 %"
    yield gauge("version_accuracy", text, accuracy, ("version", "view"))


def accuracies(tag: str) -> dict[str, float]:
    """The tag `accuracy` of a version as (view: share); the fused view has no name in it."""
    return {name or "fused": float(value) / 100 for name, value in PERCENT.findall(tag)}
