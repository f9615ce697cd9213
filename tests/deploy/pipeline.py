"""A workspace as a few nights of the pipeline leave it: small files, no training."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from snn_fusion.registry import ledger
from snn_fusion.watch.exporter import start
from snn_fusion.workspace import Workspace

MODEL = "snn-fusion"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
HISTORY = """epoch,step,loss,accuracy,val_loss,val_accuracy_fused,val_accuracy_audio,rate_joint,seconds
1,10,2.1,0.3,2.0,0.5,0.4,0.11,1.5
2,20,1.2,0.6,1.4,0.8,,0.12,1.4
"""


def measured(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "1", "provenance": "measured", "source": "a test"}


def put(ws: Workspace, name: str, content: object) -> Path:
    """A file of the workspace; what is no text becomes JSON."""
    path = ws.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def put_training(ws: Workspace, digest: str = "abcdef0123456789") -> None:
    put(ws, "trained/history.csv", HISTORY)
    put(ws, "trained/training.json", {"epochs": 2, "best_epoch": 2, "weights_digest": digest})
    put(ws, "trained/stage.json", {})


def put_evaluation(ws: Workspace) -> None:
    content = {
        "accuracy": {"clean": {"audio": measured(0.9), "fused": measured(0.98)}, "n1": {"fused": measured(0.8)}},
        "synaptic_operations": {
            "fused": {
                "effective_acs": measured(1200.0),
                "dense": measured(90000.0),
                "firing_rate": {"joint": measured(0.125)},
            }
        },
    }
    put(ws, "evaluated/evaluation.json", content)
    put(ws, "evaluated/stage.json", {})


def put_targets(ws: Workspace) -> None:
    """As `compare` writes it, Akida's figures among them."""

    def chip(acs: float) -> dict[str, Any]:
        found = [{"metric": "effective ACs", **measured(acs)}, {"metric": "energy", **measured(1.0), "value": None}]
        return {"state": "measured", "measurements": found}

    targets = {"loihi2": chip(1300.0), "akida": chip(777.0), "akida2": chip(778.0), "spinnaker": {"state": "failed"}}
    put(ws, "compared/targets.json", {"targets": targets})


def put_decisions(ws: Workspace, *outcomes: str, first: datetime = datetime(2026, 3, 1, tzinfo=UTC)) -> None:
    """promotions.jsonl with these decisions, a day apart."""
    entries: list[ledger.Entry] = []
    for i, outcome in enumerate(outcomes):
        body = {
            "model": MODEL,
            "time": (first + timedelta(days=i)).isoformat(),
            "promoted": outcome != "refused",
            **({"rolled_back": "2"} if outcome == "rolled_back" else {}),
        }
        entries.append(ledger.following(entries, body))
    put(ws, "promotions.jsonl", "".join(one.line + "\n" for one in entries))


def put_backups(ws: Workspace, backup: dict[str, Any] | None = None, drill: dict[str, Any] | None = None) -> None:
    """backups/state.json: all is well, but for what is given."""
    now = datetime.now(UTC).isoformat()
    state = {
        "backup": {"at": now, "ok": True, "bytes": 4096, "verified": True, "error": ""} | (backup or {}),
        "snapshot": {"at": now, "ok": True, "bytes": 4096, "verified": False, "error": ""},
        "drill": {"at": now, "ok": True, "seconds": 42.5, "error": ""} | (drill or {}),
    }
    put(ws, "backups/state.json", state)


def put_all(ws: Workspace) -> None:
    put_training(ws)
    put_evaluation(ws)
    put_targets(ws)
    put_decisions(ws, "promoted", "refused", "refused")
    put_backups(ws)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def exporter(ws: Workspace, tls: tuple[tuple[str, int], ...] = ()) -> Iterator[str]:
    """The URL of the metrics of a running exporter."""
    server, thread = start(ws, MODEL, "127.0.0.1", 0, tls)
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def scraped(url: str) -> Samples:
    """Every sample: name and labels to value."""
    text = httpx.get(url, timeout=10).raise_for_status().text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float | None:
    """The value of snn_fusion_pipeline_NAME with exactly these labels; None if there is none."""
    return samples.get((f"snn_fusion_pipeline_{name}", frozenset(labels.items())))
