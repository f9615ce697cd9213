"""How much a network and its inputs spike on what it was trained on: what a service compares its own traffic with.

The rate of a sense is the share of (step, channel) places with a spike, that of a layer the share of (step, neuron)
places; one of each a recording. A layer of one sense hears that sense alone; the joint layer's rate depends on which
senses came, so there is a profile of it for each sense alone and for all of them together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from snn_fusion.data.manifest import Row, read_manifest
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.network.fusion import JOINT
from snn_fusion.network.graph import Graph
from snn_fusion.network.live import Live
from snn_fusion.validation.drift import Profile, bins_of, write_profile
from snn_fusion.workspace import STAMP, Workspace

FILE = "rates.json"
RECORDINGS = 500  # of each sense, and of all together, evenly spaced over the training recordings
INPUT, LAYER = "input", "layer"
FUSED = "fused"


def input_rates(graph: Graph, spikes: Mapping[Sense, int]) -> dict[Sense, float]:
    """Of each sense, from its base spikes over all steps."""
    return {s: n / (graph.encoding.steps * channels(graph.encoding, s)) for s, n in spikes.items()}


def layer_rates(graph: Graph, spikes: Mapping[str, int]) -> dict[str, float]:
    """Of each layer, from its spikes over all steps."""
    sizes: dict[str, int] = {str(sense): size for sense, size in graph.network.params.branch.items()}
    sizes[JOINT] = graph.network.params.joint
    return {name: n / (graph.encoding.steps * sizes[name]) for name, n in spikes.items()}


def measured(
    graph: Graph, senses: Collection[Sense], inputs: Mapping[Sense, int], layers: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """One recording's rates as (sense or `fused`: measurement: rate), of what a profile may tell about these senses."""
    into, fired = input_rates(graph, inputs), layer_rates(graph, layers)
    found = {str(s): {INPUT: into[s]} | ({LAYER: fired[s]} if s in fired else {}) for s in senses}
    if JOINT in fired:
        if len(senses) == 1:
            found[next(iter(found))][JOINT] = fired[JOINT]
        elif set(senses) == set(graph.network.senses):
            found[FUSED] = {JOINT: fired[JOINT]}
    return found


def training_rates(graph: Graph, ws: Workspace) -> Profile | None:
    """The profile of unvaried training recordings; None where encoded/ is not what the network was trained on."""
    trained_on = graph.meta["training"].get("inputs", {}).get("encoded")
    if not ws.path("encoded", STAMP).exists() or trained_on != ws.digest("encoded"):
        return None
    stores = {s: SpikeStore.open(ws.path("encoded", f"{s}.arrow")) for s in graph.network.senses}
    rows = {s: _spaced(_training(store)) for s, store in stores.items()}
    alone = [{s: int(row)} for s in stores for row in rows[s]]
    together = _together(ws, stores)
    return _profile(graph, stores, [*alone, *together])


def write_rates(graph: Graph, ws: Workspace, path: Path) -> Path | None:
    """Write the profile, if there can be one; where it was written."""
    profile = training_rates(graph, ws)
    if profile is None:
        return None
    write_profile(path, profile)
    return path


def _profile(graph: Graph, stores: Mapping[Sense, SpikeStore], given: Iterable[Mapping[Sense, int]]) -> Profile:
    live = Live(graph)
    values: dict[str, dict[str, list[float]]] = {}
    for rows in given:
        spikes = {s: stores[s].take(np.array([row])) for s, row in rows.items()}
        found = _rates(graph, live, spikes)
        for view in found if len(rows) == 1 else [FUSED]:  # what each sense does was measured of it alone
            for name, rate in found[view].items():
                values.setdefault(view, {}).setdefault(name, []).append(rate)
    return {view: {name: bins_of(np.array(rates)) for name, rates in of.items()} for view, of in values.items()}


def _rates(graph: Graph, live: Live, spikes: Mapping[Sense, Spikes]) -> dict[str, dict[str, float]]:
    state = live.rest()
    live.advance(state, spikes, graph.encoding.steps)
    return measured(graph, list(spikes), {s: len(one.index) for s, one in spikes.items()}, state.spikes)


def _training(store: SpikeStore) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.flatnonzero((store.meta["split"] == "train") & (store.meta["copy"] == 0))


def _together(ws: Workspace, stores: Mapping[Sense, SpikeStore]) -> list[dict[Sense, int]]:
    """Training recordings of all senses: the row of each sense's store."""
    joined: list[Row] = read_manifest(ws.path("validated", "joined.parquet"))
    whole = [row for row in joined if row.split == "train" and all(map(row.has, stores))]
    if len(stores) == 1 or not whole:
        return []
    at = {s: {store.meta["path"][i]: int(i) for i in _training(store)} for s, store in stores.items()}
    chosen = _spaced(np.arange(len(whole)))
    return [{s: at[s][whole[i].senses[s].path] for s in stores} for i in chosen]


def _spaced(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if len(rows) <= RECORDINGS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, RECORDINGS).round().astype(np.int64)]
