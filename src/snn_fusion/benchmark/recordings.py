"""Recordings to spikes at every level of noise, each recording read once, over all cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from snn_fusion.benchmark.conditions import LEVELS, Level, at_level
from snn_fusion.config import EncodingParams
from snn_fusion.data.manifest import Ref, Row, load
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.cache import of_recording
from snn_fusion.encoding.encoder import encode
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.workers import worker_pool

CHUNK = 16  # recordings a task of a process
OF_GRAPH = "resample or convert it, or use a network trained for it"  # whose encoder is fixed
WORTH_A_POOL = 400  # recordings; below, starting processes takes longer than the work

Job = tuple[Sense, Ref]
Levels = dict[Level, Spikes]  # base spikes at each level of noise


def encode_batches(
    batches: Sequence[Sequence[Row]], root: Path, params: EncodingParams, seed: int
) -> Iterator[tuple[dict[Job, Levels], list[BadInput]]]:
    """For each batch of rows, in order: the spikes of its recordings, and those that are damaged.

    Only the batch in hand and the next, which is encoded meanwhile, are held in memory.
    """
    jobs = [[(sense, ref) for row in batch for sense, ref in row.senses.items()] for batch in batches]
    if sum(map(len, jobs)) < WORTH_A_POOL:
        for batch in jobs:
            yield _sorted_out(batch, encode_chunk(batch, root, params, seed))
        return
    with worker_pool(sum(map(len, jobs)) // CHUNK + 1) as pool:

        def submit(batch: Sequence[Job]) -> list[Future[list[Levels | BadInput]]]:
            chunks = [batch[i : i + CHUNK] for i in range(0, len(batch), CHUNK)]
            return [pool.submit(encode_chunk, chunk, root, params, seed) for chunk in chunks]

        ahead = [submit(batch) for batch in jobs[:1]]
        for number, batch in enumerate(jobs):
            ahead += [submit(following) for following in jobs[number + 1 : number + 2]]
            yield _sorted_out(batch, [one for future in ahead.pop(0) for one in future.result()])


def encode_chunk(jobs: Sequence[Job], root: Path, params: EncodingParams, seed: int) -> list[Levels | BadInput]:
    """The work of one task: each recording's spikes, or what is wrong with it."""
    return [_encode(job, root, params, seed) for job in jobs]


def _encode(job: Job, root: Path, params: EncodingParams, seed: int) -> Levels | BadInput:
    sense, ref = job
    try:
        signal = load(root, ref, sense)
        with of_recording(root, ref, OF_GRAPH):
            return {level: encode(at_level(signal, level, ref, seed, params.step_ms), params) for level in LEVELS}
    except BadInput as error:
        return error


def _sorted_out(jobs: Sequence[Job], results: Sequence[Levels | BadInput]) -> tuple[dict[Job, Levels], list[BadInput]]:
    spikes = {job: one for job, one in zip(jobs, results, strict=True) if not isinstance(one, BadInput)}
    return spikes, [one for one in results if isinstance(one, BadInput)]
