"""Recordings to spikes at every level of noise, each recording read once, over all cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from snn_fusion.benchmark.conditions import LEVELS, Level, at_level
from snn_fusion.config import EncodingParams
from snn_fusion.data.dataset import JOINED
from snn_fusion.data.manifest import Ref, Row, load_together
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.cache import of_recording
from snn_fusion.encoding.encoder import channels, encode_together, encoder_version
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import SpikeStore, write
from snn_fusion.errors import BadInput
from snn_fusion.workers import worker_pool
from snn_fusion.workspace import code_digest, digest

CHUNK = 16  # recordings a task of a process
OF_GRAPH = "resample or convert it, or use a network trained for it"  # whose encoder is fixed
WORTH_A_POOL = 400  # recordings; below, starting processes takes longer than the work

Job = tuple[Sense, Ref]
Work = tuple[Sense, Mapping[Sense, Ref]]  # a sense, and those that share its window, itself among them
Levels = dict[Level, Spikes]  # base spikes at each level of noise


def kept_batches(
    batches: Sequence[Sequence[Row]], root: Path, params: EncodingParams, seed: int, cache: Path | None
) -> Iterator[tuple[dict[Job, Levels], list[BadInput]]]:
    """`encode_batches`, with the spikes kept in `cache` by content: every target is tested on the same ones."""
    keys = [_key(batch, params, seed) for batch in batches]
    if cache and all(
        (cache / f"{key}-{sense}.arrow").exists() for key, b in zip(keys, batches, strict=True) for sense in b[0].senses
    ):
        for batch, key in zip(batches, keys, strict=True):
            yield _read(cache, key, batch), []
        return
    for batch, key, (spikes, bad) in zip(batches, keys, encode_batches(batches, root, params, seed), strict=True):
        if cache and not bad:
            _write(cache, key, batch, spikes, params)
        yield spikes, bad


def _key(batch: Sequence[Row], params: EncodingParams, seed: int) -> str:
    files = [
        [sense, ref.sha256 or ref.path, ref.size, ref.columns] for row in batch for sense, ref in row.senses.items()
    ]
    alone = [row.source == JOINED for row in batch]
    return digest(files, alone, params, seed, encoder_version(), code_digest("data", "benchmark/conditions.py"))[:16]


def _write(cache: Path, key: str, batch: Sequence[Row], spikes: dict[Job, Levels], params: EncodingParams) -> None:
    for sense in batch[0].senses:
        found = [spikes[sense, row.senses[sense]][level] for row in batch for level in LEVELS]
        write(cache / f"{key}-{sense}.arrow", {}, found, channels(params, sense), params.steps)


def _read(cache: Path, key: str, batch: Sequence[Row]) -> dict[Job, Levels]:
    found: dict[Job, Levels] = {}
    for sense in batch[0].senses:
        store = SpikeStore.open(cache / f"{key}-{sense}.arrow")
        for i, row in enumerate(batch):
            found[sense, row.senses[sense]] = {
                level: store.take(np.array([i * len(LEVELS) + k])) for k, level in enumerate(LEVELS)
            }
    return found


def encode_batches(
    batches: Sequence[Sequence[Row]], root: Path, params: EncodingParams, seed: int
) -> Iterator[tuple[dict[Job, Levels], list[BadInput]]]:
    """For each batch of rows, in order: the spikes of its recordings, and those that are damaged.

    Only the batch in hand and the next, which is encoded meanwhile, are held in memory.
    """
    jobs = [[work for row in batch for work in _work(row)] for batch in batches]
    if sum(map(len, jobs)) < WORTH_A_POOL:
        for batch in jobs:
            yield _sorted_out(batch, encode_chunk(batch, root, params, seed))
        return
    with worker_pool(sum(map(len, jobs)) // CHUNK + 1) as pool:

        def submit(batch: Sequence[Work]) -> list[Future[list[Levels | BadInput]]]:
            chunks = [batch[i : i + CHUNK] for i in range(0, len(batch), CHUNK)]
            return [pool.submit(encode_chunk, chunk, root, params, seed) for chunk in chunks]

        ahead = [submit(batch) for batch in jobs[:1]]
        for number, batch in enumerate(jobs):
            ahead += [submit(following) for following in jobs[number + 1 : number + 2]]
            yield _sorted_out(batch, [one for future in ahead.pop(0) for one in future.result()])


def _work(row: Row) -> list[Work]:
    """What was joined by label was recorded apart: each sense has a window of its own."""
    if row.source == JOINED:
        return [(sense, {sense: ref}) for sense, ref in row.senses.items()]
    return [(sense, row.senses) for sense in row.senses]


def encode_chunk(jobs: Sequence[Work], root: Path, params: EncodingParams, seed: int) -> list[Levels | BadInput]:
    """The work of one task: each recording's spikes, or what is wrong with it."""
    return [_encode(job, root, params, seed) for job in jobs]


def _encode(job: Work, root: Path, params: EncodingParams, seed: int) -> Levels | BadInput:
    sense, refs = job
    found: Levels = {}
    try:
        signals = load_together(root, refs)
        for level in LEVELS:
            noisy = {s: at_level(signals[s], level, ref, seed, params.step_ms) for s, ref in refs.items()}
            with of_recording(root, refs[sense], OF_GRAPH):
                found[level] = encode_together(noisy, params, sense)[0][sense]
    except BadInput as error:
        return error
    return found


def _sorted_out(jobs: Sequence[Work], results: Sequence[Levels | BadInput]) -> tuple[dict[Job, Levels], list[BadInput]]:
    made = zip(jobs, results, strict=True)
    spikes = {(sense, refs[sense]): one for (sense, refs), one in made if not isinstance(one, BadInput)}
    return spikes, [one for one in results if isinstance(one, BadInput)]
