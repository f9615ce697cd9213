"""Encode many recordings over all cores, each only once: results are kept by content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from snn_fusion import log_lines
from snn_fusion.config import EncodingParams
from snn_fusion.data.manifest import Ref, load_together
from snn_fusion.data.perturb import vary
from snn_fusion.data.readers import split_member
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.activity import movement_units
from snn_fusion.encoding.encoder import channels, encode_together, encoder_version
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import SpikeStore, write
from snn_fusion.encoding.window import Window
from snn_fusion.errors import BadInput, BadRecording
from snn_fusion.workers import worker_pool
from snn_fusion.workspace import code_digest, digest

SHARD = 256  # recordings a file of the cache


Encoded = tuple[Spikes, float]  # base spikes, and the share of the recording that lies in the window (NaN: silence)


@dataclass(frozen=True)
class Job:
    """One recording as it is (`copy` 0) or as its `copy`-th variation: the senses that share its window.

    `senses` has the one that is encoded first.
    """

    senses: tuple[tuple[Sense, Ref], ...]
    copy: int

    @property
    def ref(self) -> Ref:
        """Of the sense that is encoded."""
        return self.senses[0][1]


def encoder_digest(params: EncodingParams, sense: Sense) -> str:
    """What an encoding of this sense depends on beside the recording: parameters and code."""
    code = getattr(params, sense), encoder_version(), code_digest("data")
    return digest(sense, params.step_ms, params.steps, params.onset, movement_units(params), *code)


def encode_all(
    jobs: Sequence[Job], sense: Sense, params: EncodingParams, seed: int, recordings: Path, cache: Path
) -> list[Encoded]:
    """Each job's base spikes and how much was used, in order. `Ref.path` is relative to the folder `recordings`.

    What the cache lacks is encoded in a process a core and added to it, a shard at a time, so that a kill loses at
    most the shards at work.
    """
    encoder = encoder_digest(params, sense)
    keys = [_key(job, encoder, seed) for job in jobs]
    have = set(_cached_keys(cache, encoder))
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in have}
    if missing:
        _encode_missing(missing, sense, params, seed, recordings, cache, encoder)
    found = _read(cache, encoder, set(keys))
    return [found[key] for key in keys]


def _key(job: Job, encoder: str, seed: int) -> str:
    files = [[ref.sha256, ref.size, ref.columns] for _, ref in job.senses]
    return digest(encoder, files, [job.copy, seed] if job.copy else [0])


def _shards(cache: Path, encoder: str) -> list[Path]:
    return sorted(cache.glob(f"{encoder[:16]}-*.arrow"))


def _cached_keys(cache: Path, encoder: str) -> Iterator[str]:
    for shard in _shards(cache, encoder):
        yield from SpikeStore.open(shard).meta["key"]


def _read(cache: Path, encoder: str, keys: set[str]) -> Mapping[str, Encoded]:
    found = {}
    for shard in _shards(cache, encoder):
        store = SpikeStore.open(shard)
        for row, (key, used) in enumerate(zip(store.meta["key"], store.meta["used"], strict=True)):
            if key in keys:
                found[key] = store.take(np.array([row])), float(used)
    return found


def _encode_missing(
    missing: Mapping[str, Job],
    sense: Sense,
    params: EncodingParams,
    seed: int,
    recordings: Path,
    cache: Path,
    encoder: str,
) -> None:
    todo = list(missing.items())
    shards = [todo[i : i + SHARD] for i in range(0, len(todo), SHARD)]
    console = log_lines.console()
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, disable=log_lines.as_json()) as progress,
        worker_pool(len(shards)) as pool,
    ):
        task = progress.add_task(f"encode {sense}", total=len(todo))
        arguments = (sense, params, seed, recordings, cache, encoder)
        for done in as_completed([pool.submit(_encode_shard, shard, *arguments) for shard in shards]):
            progress.advance(task, done.result())


@contextlib.contextmanager
def of_recording(root: Path, ref: Ref, remedy: str = "") -> Iterator[None]:
    """What the encoder refuses within the block is said of the recording's file; `remedy` stands for the encoder's."""
    try:
        yield
    except BadRecording:
        raise
    except BadInput as error:
        problem = f"{error.where}: {error.problem}"
        raise BadRecording(root / split_member(ref.path)[0], problem, remedy or error.remedy) from None


def _encode_shard(
    jobs: Sequence[tuple[str, Job]],
    sense: Sense,
    params: EncodingParams,
    seed: int,
    recordings: Path,
    cache: Path,
    encoder: str,
) -> int:
    spikes, used = [], []
    for _, job in jobs:
        signals = load_together(recordings, dict(job.senses))
        if job.copy:
            signals = {s: _varied(signals[s], ref, job.copy, params, seed) for s, ref in job.senses}
        with of_recording(recordings, job.ref):
            made, window = encode_together(signals, params, sense)
        spikes.append(made[sense])
        used.append(_share(window, sense))
    keys = [key for key, _ in jobs]
    name = f"{encoder[:16]}-{digest(keys)[:16]}.arrow"
    write(cache / name, {"key": keys, "used": used}, spikes, channels(params, sense), params.steps)
    return len(jobs)


def _share(window: Window, sense: Sense) -> float:
    """Of the recording, in the window. A variation may have lost all its events."""
    used = window.used().get(sense)
    return np.nan if used is None or used.share is None else used.share


def _varied(signal: Signal, ref: Ref, copy: int, params: EncodingParams, seed: int) -> Signal:
    """The same variation of a recording wherever and whenever it is made."""
    rng = np.random.default_rng(int(digest(ref.sha256, copy, seed)[:16], 16))
    return vary(signal, rng, params.step_ms)
