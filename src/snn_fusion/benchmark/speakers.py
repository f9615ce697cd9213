"""The stage `speakers`: for each speaker a network that never heard them, by the recipe of the network in hand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from snn_fusion.benchmark.console import say
from snn_fusion.config import Params
from snn_fusion.data.imported import SNAPSHOT, lay_out
from snn_fusion.data.manifest import Row, read_manifest, write_manifest
from snn_fusion.errors import BadInput
from snn_fusion.targets.names import epochs_of
from snn_fusion.targets.stage import unavailable
from snn_fusion.workspace import STAMP, Workspace, code_digest, digest, remove_tree, write_atomic

if TYPE_CHECKING:
    from snn_fusion.network.graph import Graph

SCHEMA = 1
STAGE = "left_out"
SAID = f"{STAGE}.json"
CODE = ("data", "validation", "encoding", "network", "training", "benchmark/speakers.py")
CODE_OF_TARGETS = ("examples.py", "akida", "teacher.py", "tuners.py", "names.py", "populations.py", "program_file.py")
OWN_NETWORK = "akida"  # the family of targets that run a network of their own, taught by the one in hand
SKIP = {"skipped": "yes"}
SKIPPED = "skipped; `snn-fusion retrain` measures it, with a training without each speaker in turn"
PIECES = ("validated", "validated-failed", "encoded", "trained", "checkpoints")  # of one speaker's workspace


def speakers(params: Params, ws: Workspace, skip: bool = False) -> dict[str, Any]:
    """Train a network without each speaker in turn, on all other recordings.

    Writes left_out/: left_out.json, and for each speaker a folder with `graph/`, the speaker's recordings
    (recordings.parquet, the sound alone), `examples/`, training recordings as spikes, and `tuned/`, what a target that
    is there runs in place of the graph, which the graph taught from the same recordings. A killed run goes on from
    checkpoints/speakers/. With `skip`, or where there are no two speakers, left_out.json says why there is nothing.
    Raises BadInput if nothing was validated, or if what is left without a speaker cannot be trained on.
    """
    if skip:
        return ws.build(STAGE, SKIP, lambda out: _describe(out, [], SKIPPED))
    made_from, names = recipe(params, ws) | {"taught": str(_taught())}, _speakers(ws)
    why = _impossible(params, names)

    def work(out: Path) -> dict[str, Any]:
        found = []
        for i, speaker in enumerate(names if why is None else (), 1):
            say(f"speaker {i} of {len(names)}: a network without {speaker}")
            folder, result = _without(speaker, params, ws, made_from)
            shutil.copytree(folder, out / folder.parent.name, ignore=shutil.ignore_patterns(STAMP))
            found.append({"speaker": speaker, "folder": folder.parent.name, **result})
        return _describe(out, found, why)

    return ws.build(STAGE, made_from, work)


def recipe(params: Params, ws: Workspace) -> dict[str, str]:
    """Digests of all that the networks depend on. Raises BadInput if nothing has been validated."""
    parts = params.data, params.validation, params.encoding, params.network, params.training, params.seed
    code = code_digest(*CODE, *(f"targets/{one}" for one in CODE_OF_TARGETS))
    # What the run has validated, not what is imported now: the sources that it uses, as they were.
    recordings = ws.stamp("validated")["inputs"].get("recordings", "")
    return {"recordings": recordings, "params": digest(*parts), "code": code}


def _speakers(ws: Workspace) -> list[str]:
    ws.stamp("validated")
    rows = read_manifest(ws.path("validated", "recordings.parquet"))
    return sorted({row.senses["audio"].subject for row in rows if row.has("audio")} - {""})


def _impossible(params: Params, names: Sequence[str]) -> str | None:
    if "audio" not in params.network.branch:
        return "the network has no audio"
    return None if len(names) > 1 else f"the recordings name {len(names)} speakers: two are needed"


def _describe(out: Path, found: list[dict[str, Any]], why: str | None) -> dict[str, Any]:
    content = {"schema": SCHEMA, "not_measured": why, "networks": found}
    write_atomic(out / SAID, json.dumps(content, indent=1) + "\n")
    return {"not_measured": why} if why else {"speakers": {one["speaker"]: one["recordings"] for one in found}}


def _without(speaker: str, params: Params, ws: Workspace, made_from: dict[str, str]) -> tuple[Path, dict[str, Any]]:
    """The folder of the network that never heard `speaker`, and what is said of it; made unless it is there.

    The stages before it run in a workspace of their own, with the recordings of the run and the same cache.
    """
    place = Workspace(ws.path("checkpoints", "speakers", _folder_name(speaker)))
    place.root.mkdir(parents=True, exist_ok=True)
    lay_out(ws, ws.path("validated", SNAPSHOT), place)
    ws.path("cache").mkdir(exist_ok=True)
    place.path("cache").unlink(missing_ok=True)
    place.path("cache").symlink_to(os.path.relpath(ws.path("cache"), place.root))
    data = params.data.model_copy(update={"split": f"leave-out:{speaker}"})
    own = params.model_copy(update={"data": data})
    try:
        result = place.build(
            "network", {**made_from, "speaker": speaker}, lambda out: _train(speaker, own, place, out), ".lock.network"
        )
    except BadInput as error:
        remedy = f"{error.remedy}; or leave the condition out: `snn-fusion speakers --skip`"
        raise BadInput(f"without speaker {speaker}: {error.where}", error.problem, remedy) from error
    for piece in PIECES:
        remove_tree(place.path(piece))
    result.pop("up_to_date")
    return place.path("network"), result


def _folder_name(speaker: str) -> str:
    """Of any text, a name that is one folder's, and no other speaker's."""
    return quote(speaker, safe=" ").replace(".", "%2E")


def _train(speaker: str, params: Params, place: Workspace, out: Path) -> dict[str, Any]:
    from snn_fusion.benchmark.testset import check_labels
    from snn_fusion.encoding.stage import encode
    from snn_fusion.network.graph import load_graph
    from snn_fusion.training.stage import train
    from snn_fusion.validation.stage import validate

    validate(params, place)
    rows = _recordings(speaker, place)
    encode(params, place)
    train(params, place)
    graph = load_graph(place.path("trained", "graph"))
    check_labels(rows, graph.classes)
    shutil.copytree(place.path("trained", "graph"), out / "graph")
    write_manifest(out / "recordings.parquet", rows)
    _keep_examples(params, place, out / "examples")
    if _taught():
        _teach(speaker, graph, params, place, out / "tuned")
    return {"recordings": len(rows), "weights_digest": graph.weights_digest}


def _taught() -> bool:
    return unavailable(OWN_NETWORK) is None


def _teach(speaker: str, graph: Graph, params: Params, place: Workspace, out: Path) -> None:
    from snn_fusion.targets.program_file import save_program
    from snn_fusion.targets.tuners import tune_family
    from snn_fusion.training.progress import training_progress
    from snn_fusion.training.stage import read_training_data

    say(f"without {speaker}: the network of {OWN_NETWORK}")
    with training_progress(epochs_of(OWN_NETWORK, params)) as report:
        made = tune_family(OWN_NETWORK, graph, params, read_training_data(params, place), report)
    for name, tuned in made.items():
        save_program(out / name, *tuned)


def _recordings(speaker: str, place: Workspace) -> list[Row]:
    """The speaker's sound, without what else was recorded with it."""
    rows = [row for row in read_manifest(place.path("validated", "recordings.parquet")) if row.has("audio")]
    own = [row for row in rows if row.senses["audio"].subject == speaker]
    return [replace(row, senses={"audio": row.senses["audio"]}) for row in own]


def _keep_examples(params: Params, place: Workspace, out: Path) -> None:
    """The recordings from which a chip takes its scales, as base spikes: one store a sense, a silent one if missing."""
    import numpy as np

    from snn_fusion.encoding.store import write
    from snn_fusion.targets.examples import example_samples
    from snn_fusion.training.stage import read_training_data

    data = read_training_data(params, place)
    samples = example_samples(data, params.seed)
    for sense, store in data.stores.items():
        spikes = [store.take(np.array([one])) for one in samples.recording[sense]]
        write(out / f"{sense}.arrow", {}, spikes, store.channels, store.steps)
