"""Reading a service's metrics, and models that do what a network would not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from snn_fusion.serving.model import Model

LOCAL = "http://127.0.0.1"  # without keys a service answers no other name
NEVER = 600_000.0  # ms of waiting: nothing is shortened


def value(client: Any, name: str, **labels: str) -> float | None:
    """The sample of this name and these labels in /metrics; None where there is none."""
    return in_text(client.get("/metrics").text, name, **labels)


def value_at(url: str, name: str, **labels: str) -> float | None:
    return in_text(httpx.get(f"{url}/metrics").text, name, **labels)


def in_text(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == f"snn_fusion_{name}" and one.labels == labels:
                return float(one.value)
    return None


class Altered:
    """A network whose every recording starts with `first`, and whose potentials and state `after` may change."""

    def __init__(self, network: Any, first: Callable[[], object], after: Callable[[Any, Any], Any]) -> None:
        self.network, self.first, self.after = network, first, after

    def rest(self) -> Any:
        self.first()
        return self.network.rest()

    def advance(self, state: Any, rows: Any, steps: int) -> Any:
        return self.after(state, self.network.advance(state, rows, steps))


def altered(
    model: Model,
    first: Callable[[], object] = lambda: None,
    after: Callable[[Any, Any], Any] = lambda _, potentials: potentials,
    version: str = "altered",
) -> Model:
    return replace(model, network=Altered(model.network, first, after), version=version)
