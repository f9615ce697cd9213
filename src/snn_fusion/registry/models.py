"""From what a user names to a graph: a folder, a registered version, or an alias."""

from __future__ import annotations

from pathlib import Path

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import versions
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import CHAMPION, RUN_FIRST
from snn_fusion.workspace import Workspace


class NothingRegistered(BadInput):
    """There is no version yet."""


def resolve_model(params: Params, ws: Workspace, name: str | None) -> Path:
    """The graph folder that `name` means: a path, a version's number, or an alias (`champion`, `challenger`).

    None: the champion, else the newest version. Raises BadInput if there is no such thing.
    """
    if name is not None and (Path(name).is_dir() or "/" in name):
        if not Path(name).is_dir():
            raise BadInput(f"--model {name}", "no such folder", "name a graph folder, a version's number or an alias")
        return Path(name)
    client, model = connect(ws), params.registry.model
    if name is not None:
        return versions.graph_folder(versions.find(client, model, name), ws)
    champion, registered = versions.by_alias(client, model, CHAMPION), versions.every(client, model)
    if not registered:
        raise NothingRegistered(
            f"model {model}", "nothing is registered yet", f"{RUN_FIRST}, or name a graph with --model"
        )
    return versions.graph_folder(champion or registered[-1], ws)
