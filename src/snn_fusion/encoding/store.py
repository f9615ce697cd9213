"""Encoded recordings on disk: one memory-mapped Arrow file a sense, one row a recording (or perturbed copy)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from snn_fusion.encoding.spikes import Int32, Spikes
from snn_fusion.errors import BadInput

# `counts`: spikes in each step; `index`: their channels, step after step.
SPIKE_COLUMNS = [("counts", pa.large_list(pa.int32())), ("index", pa.large_list(pa.int32()))]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SpikeStore:
    """`meta` has one entry a recording for each describing column; spikes are CSR over (recording, step)."""

    meta: dict[str, npt.NDArray[Any]]
    indptr: Int64
    index: Int32
    channels: int
    steps: int

    def __len__(self) -> int:
        return (len(self.indptr) - 1) // self.steps

    @classmethod
    def open(cls, path: Path) -> SpikeStore:
        """Memory-map a file that `write` made; only the row pointers are copied. Raises BadInput."""
        try:
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
        except FileNotFoundError:
            raise BadInput(path, "no such spike store", "run `snn-fusion encode`") from None
        except pa.ArrowInvalid as error:
            raise BadInput(path, f"not a spike store: {error}", "run `snn-fusion encode` again") from None
        info = {key.decode(): int(value) for key, value in table.schema.metadata.items()}
        counts, index = (_flat(table[name]) for name in ("counts", "index"))
        indptr = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        meta = {name: table[name].to_numpy() for name in table.column_names if name not in ("counts", "index")}
        return cls(meta, indptr, index, info["channels"], info["steps"])

    def take(self, recordings: npt.NDArray[np.integer[Any]]) -> Spikes:
        """The spikes of these recordings (-1: a silent one), `len(recordings) * steps` rows."""
        indptr, index = _take(self.indptr, self.index, np.asarray(recordings, np.int64), self.steps)
        return Spikes(indptr, index, self.channels)


def write(path: Path, meta: dict[str, Sequence[Any]], spikes: Sequence[Spikes], channels: int, steps: int) -> None:
    """Write recordings of `steps` rows each with their describing columns; atomically."""
    counts = pa.array([s.counts() for s in spikes], SPIKE_COLUMNS[0][1])
    index = pa.array([s.index for s in spikes], SPIKE_COLUMNS[1][1])
    table = pa.table({**meta, "counts": counts, "index": index})
    table = table.replace_schema_metadata({"channels": str(channels), "steps": str(steps)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())  # one batch, so that reading is free of copies
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flat(column: pa.ChunkedArray) -> Int32:
    chunks = [chunk.flatten().to_numpy(zero_copy_only=True) for chunk in column.chunks]
    flat: Int32 = chunks[0] if len(chunks) == 1 else np.concatenate([np.zeros(0, np.int32), *chunks])
    return flat


@njit(cache=True, nogil=True)
def _take(indptr: Int64, index: Int32, recordings: Int64, steps: int) -> tuple[Int32, Int32]:
    out_indptr = np.zeros(len(recordings) * steps + 1, np.int32)
    for i, recording in enumerate(recordings):
        for step in range(steps):
            count = 0
            if recording >= 0:
                row = recording * steps + step
                count = indptr[row + 1] - indptr[row]
            out_indptr[i * steps + step + 1] = out_indptr[i * steps + step] + count
    out = np.empty(out_indptr[-1], np.int32)
    for i, recording in enumerate(recordings):
        if recording >= 0:
            first = indptr[recording * steps]
            start, end = out_indptr[i * steps], out_indptr[(i + 1) * steps]
            out[start:end] = index[first : first + end - start]
    return out_indptr, out
