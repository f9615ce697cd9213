"""Rolling back: the champion before becomes champion again, on record like a promotion, without the gate."""

from __future__ import annotations

from typing import Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import record, versions
from snn_fusion.registry.promote import crown, finish, signature, tell
from snn_fusion.registry.record import Record
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import CHALLENGER, CHAMPION
from snn_fusion.workspace import Workspace, disk_errors


def rollback(params: Params, ws: Workspace, version: str | None = None) -> dict[str, Any]:
    """Take the champion (`version` must be it; None: whichever it is) back, for the champion before it.

    A line of the record says who did it. The version that was rolled back is not promoted again until somebody
    names it. Raises BadInput if `version` is not the champion, none was champion before it, or the record has been
    altered.
    """
    with ws.lock("rollback"), disk_errors(ws.root):
        client, model = connect(ws), params.registry.model
        known = record.read(client, model, ws)
        finish(client, known, ws)
        champion = versions.by_alias(client, model, CHAMPION)
        if champion is None:
            raise BadInput(f"model {model}", "there is no champion", "run `snn-fusion promote`")
        named = versions.find(client, model, version) if version else champion
        if named.number != champion.number:
            raise BadInput(
                f"model {model}, {named}", f"is not the champion, which is {champion}", "only that can be rolled back"
            )
        reigns = _reigns(known)
        if not reigns or reigns[-1]["run_id"] != champion.run_id:
            remedy = "set the alias to the version that is wanted, in MLflow"
            raise BadInput(f"model {model}", f"the record does not say how {champion} became champion", remedy)
        if len(reigns) < 2:
            raise BadInput(f"model {model}, {champion}", "none was champion before it", "promote another version")
        before = versions.find(client, model, reigns[-2]["version"])
        versions.graph_folder(before, ws)  # raises if its files are not what was registered
        reason = f"{champion} was rolled back to {before}"
        line = {
            **signature(),
            "model": model,
            "version": before.number,
            "run_id": before.run_id,
            "champion_before": champion.number,
            "promoted": True,
            "rolled_back": champion.number,
            "reason": reason,
        }
        try:
            entry = record.append(client, known, line, ws)
        except record.Overtaken:
            problem = "another workspace has decided about this model at the same time"
            raise BadInput(f"model {model}", problem, "look who is champion now, and run it again") from None
        crown(client, before, entry, ws)
        client.set_registered_model_alias(model, CHALLENGER, champion.number)
    result = {"rolled_back": champion.number, "version": before.number, "reason": reason}
    tell(params, "champion", result)
    return result


def _reigns(known: Record) -> list[dict[str, Any]]:
    """Whoever was promoted and not rolled back since, oldest first; the last is champion."""
    found: list[dict[str, Any]] = []
    for entry in known.accepted:
        if entry.body.get("rolled_back"):
            found.pop()
        else:
            found.append(dict(entry.body))
    return found
