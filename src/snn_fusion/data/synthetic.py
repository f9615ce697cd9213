"""Synthetic recordings of the three senses: the fallback where no real recordings can be had.

Every recording is one person saying and writing one digit: the word at two ears (stereo WAV; the reader takes the
mean of both), the digit's contour moving before an event camera (N-MNIST `.bin`), and the same contour written with
a stylus (IMU Parquet). The people of the test split are not in the training split.
"""

from __future__ import annotations

import csv
import io
import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from snn_fusion.data.recording import Imu
from snn_fusion.data.synthetic_camera import nmnist_bytes, watch
from snn_fusion.data.synthetic_glyph import LABELS, Person, draw_glyph
from snn_fusion.data.synthetic_pen import feel
from snn_fusion.data.synthetic_voice import RATE, speak
from snn_fusion.workspace import write_atomic

PEOPLE = 12
TEST_PEOPLE = (1, 7)
COLUMNS = ("id", "label", "split", "subject", "audio", "events", "imu")


def generate(folder: Path, seed: int, recordings_per_label: int = 60) -> None:
    """Write synthetic recordings of the digits 0..9 and their recordings.csv into `folder`.

    The same arguments give the same bytes, and a larger `recordings_per_label` only adds recordings. Raises
    ValueError below two recordings a label: one for each split.
    """
    if recordings_per_label < 2:
        raise ValueError(f"recordings_per_label = {recordings_per_label}: at least 2, one for each split")
    for sense in ("audio", "events", "imu"):
        (folder / sense).mkdir(parents=True, exist_ok=True)
    people = [Person.draw(np.random.default_rng([seed, 0, who])) for who in range(PEOPLE)]
    lines = [
        _record(folder, label, number, people[number % PEOPLE], np.random.default_rng([seed, 1, at, number]))
        for at, label in enumerate(LABELS)
        for number in range(recordings_per_label)
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines)
    write_atomic(folder / "recordings.csv", table.getvalue())


def _record(folder: Path, label: str, number: int, person: Person, rng: np.random.Generator) -> tuple[str, ...]:
    """Write one recording's files; its line of recordings.csv."""
    who = number % PEOPLE
    name = f"{label}_s{who}_{number}"
    paths = (f"audio/{name}.wav", f"events/{name}.bin", f"imu/{name}.parquet")
    strokes = draw_glyph(label, person, rng)
    with wave.open(str(folder / paths[0]), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(speak(label, person, rng).astype("<i2").tobytes())
    (folder / paths[1]).write_bytes(nmnist_bytes(watch(strokes, person, rng)))
    _write_imu(folder / paths[2], feel(strokes, person, rng))
    return (name, label, "test" if who in TEST_PEOPLE else "train", f"s{who}", *paths)


def _write_imu(path: Path, imu: Imu) -> None:
    """IMU Parquet: t_us, then a float32 column a channel with its unit in the field's metadata."""
    fields = [pa.field("t_us", pa.int64())]
    fields += [
        pa.field(channel, pa.float32(), metadata={"unit": unit})
        for channel, unit in zip(imu.channels, imu.units, strict=True)
    ]
    columns = [pa.array(imu.t), *(pa.array(column) for column in imu.values.T)]
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), path, compression="zstd")
