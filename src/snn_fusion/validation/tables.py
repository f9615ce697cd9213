"""The tables that checks look at: rows of the manifest, measurements, subjects, labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.manifest import SPLITS, Ref, Row, load, load_together
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadRecording
from snn_fusion.validation.checks import missing_channels
from snn_fusion.validation.measure import Measurement, measure
from snn_fusion.validation.used import measure_used
from snn_fusion.workers import worker_pool

T = TypeVar("T")
Record = dict[str, Measurement]
Measurements = Mapping[Sense, Sequence[Record]]
CHUNK = 200  # recordings that a process measures at a time


def manifest_records(rows: Sequence[Row]) -> list[Record]:
    return [{"id": row.id, "label": row.label.strip() or None, "split": row.split} for row in rows]


def measure_rows(
    root: Path, rows: Sequence[Row], params: Params, meanwhile: Callable[[], T]
) -> tuple[dict[Sense, list[Record]], T]:
    """Measure every sense of every row, in as many processes as there are cores.

    A record has id, label, split, source, subject, file and the measurements (`measure.py`). `meanwhile()` runs in this
    process while the others measure; its result is given back.
    """
    jobs = [(sense, row) for sense in SENSES for row in rows if row.has(sense)]
    every = [(sense, _in_one_window(row, sense, params)) for sense, row in jobs]
    chunks = [every[k : k + CHUNK] for k in range(0, len(jobs), CHUNK)]
    work = partial(_measure_chunk, root, params.encoding)
    if len(chunks) < 2:
        done = [work(chunk) for chunk in chunks]
        waited = meanwhile()
    else:
        with worker_pool(len(chunks)) as pool:
            pending = pool.map(work, chunks)
            waited = meanwhile()
            done = list(pending)
    out: dict[Sense, list[Record]] = {sense: [] for sense in SENSES if any(row.has(sense) for row in rows)}
    for (sense, row), measured in zip(jobs, (m for chunk in done for m in chunk), strict=True):
        out[sense].append(_described(row, sense) | measured)
    for record in out.get("imu", []):
        record["missing_channels"] = missing_channels(record.get("channels"), params.encoding.imu.channels)
    return out, waited


def _in_one_window(row: Row, sense: Sense, params: Params) -> dict[Sense, Ref]:
    """The sense, and the others of the recording that the network has."""
    return {s: row.senses[s] for s in SENSES if row.has(s) and (s == sense or s in params.network.branch)}


def _measure_chunk(
    root: Path, params: EncodingParams, chunk: Sequence[tuple[Sense, Mapping[Sense, Ref]]]
) -> list[Record]:
    return [measure_recording(root, refs, sense, params) for sense, refs in chunk]


def measure_recording(root: Path, refs: Mapping[Sense, Ref], sense: Sense, params: EncodingParams) -> Record:
    """The measurements of one sense of a recording, or `error` with the reader's complaint if it cannot be read."""
    try:
        signal = load(root, refs[sense], sense)
    except BadRecording as error:
        return {"error": error.problem}
    measured = {"remarks": "; ".join(signal.remarks) or None, **measure(signal)}
    if measured.get("not_finite") or measured.get("backwards") or measured.get("outside"):
        return {"error": None, **measured}  # which is bad whatever lies in the window
    try:
        signals = load_together(root, refs)
    except BadRecording:  # another sense, which says so itself
        signals = {sense: signal}
    measured["remarks"] = "; ".join(signals[sense].remarks) or None
    return {"error": None, **measured, **measure_used(signals, sense, params)}


def _described(row: Row, sense: Sense) -> Record:
    ref = row.senses[sense]
    place = {"source": row.source, "subject": ref.subject, "file": ref.path}
    return {"id": row.id, "label": row.label, "split": row.split, **place}


def subject_records(rows: Sequence[Row], sense: Sense) -> list[Record]:
    """The splits of every known subject of a sense. Two sources may name different people alike."""
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.has(sense) and row.senses[sense].subject:
            splits[row.source, row.senses[sense].subject].add(row.split)
    return [
        {"id": f"{subject} ({source})", "splits": " and ".join(sorted(of, reverse=True))}
        for (source, subject), of in sorted(splits.items())
    ]


def disjoint_senses(rows: Sequence[Row], params: Params) -> list[Sense]:
    """Senses whose splits promise disjoint subjects: those of `validation.disjoint_subjects`, and the one of a
    speaker or writer left out."""
    left_out = params.data.split.removeprefix("leave-out:") if params.data.split != "official" else None
    return [
        sense
        for sense in SENSES
        if sense in params.validation.disjoint_subjects
        or any(row.has(sense) and row.senses[sense].subject == left_out for row in rows)
    ]


def label_records(rows: Sequence[Row], sense: Sense) -> list[Record]:
    """Recordings of each label in each split, for the labels of any sense."""
    count = Counter((row.label, row.split) for row in rows if row.has(sense))
    return [
        {"id": f"label {label!r}", **{split: count[label, split] for split in SPLITS}}
        for label in sorted({row.label for row in rows})
    ]


def balance_records(labels: Sequence[Record]) -> list[Record]:
    """Largest over smallest number of training recordings of a label; labels without any are not counted here."""
    counts = [int(n) for of in labels if (n := of["train"])]
    return [{"id": "training split", "class_ratio": max(counts) / min(counts)}] if counts else []
