"""Small recordings made on the spot, whole or damaged."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import faery
import numpy as np
import numpy.typing as npt
import soundfile

STROKE = ((10, 10), (14, 10), (18, 14), (18, 20))


def write_wav(path: Path, samples: object = None, rate: int = 8000, subtype: str = "PCM_16") -> Path:
    """A WAV file, by default 100 ms of a 440 Hz tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 10) / rate)
    soundfile.write(path, tone if samples is None else samples, rate, subtype=subtype)
    return path


def bin_bytes(events: Sequence[tuple[int, int, int, int]]) -> bytes:
    """N-MNIST's form of (t, x, y, p)."""
    return b"".join(
        struct.pack(">BBI", x, y, p << 23 | t)[:2] + struct.pack(">I", p << 23 | t)[1:] for t, x, y, p in events
    )


def write_bin(path: Path, events: Sequence[tuple[int, int, int, int]] | None = None) -> Path:
    """An N-MNIST file, by default 300 events over 300 ms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bin_bytes(events or [(1000 * n, n % 34, (2 * n) % 34, n % 2) for n in range(300)]))
    return path


def camera_events() -> npt.NDArray[np.void]:
    """500 events over 300 ms on a sensor of 64 x 48 pixels, from 5 s on the camera's clock."""
    events = np.zeros(500, faery.EVENTS_DTYPE)
    events["t"] = 5_000_000 + np.sort(np.random.default_rng(0).integers(0, 300_000, 500))
    events["x"], events["y"] = np.arange(500) % 64, np.arange(500) % 48
    events["on"] = np.arange(500) % 3 == 0
    return events


def write_camera(path: Path, version: str | None = None, **more: object) -> Path:
    """`camera_events` in the form that the suffix and `version` say."""
    stream = faery.events_stream_from_array(camera_events(), (64, 48))
    stream.to_file(path, version=version, **more)
    return path


def write_imu(path: Path, text: str | None = None) -> Path:
    """An IMU CSV file, by default 30 samples of two channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{10_000 * n},{n * 0.1},{n % 2}\n" for n in range(30))
    path.write_text(text if text is not None else "t_us,acc_x[m/s^2],contact[1]\n" + rows)
    return path


def segment(
    label: str, writer: int = 1, strokes: Sequence[Sequence[tuple[int, int]]] = (STROKE,), first: int = 0
) -> str:
    """One UNIPEN segment as in pendigits."""
    parts = f"{first}" if len(strokes) == 1 else f"{first}-{first + len(strokes) - 1}"
    pen = "".join(
        ".PEN_DOWN\n" + "".join(f" {x:3d}  {y:3d}\n" for x, y in stroke) + ".PEN_UP\n.DT 100\n" for stroke in strokes
    )
    return f'.SEGMENT DIGIT {parts} ? "{label}"\n.COMMENT {label} {writer}  60\n{pen}\n'


def write_pen(path: Path, labels: str = "0123456789", writer: int = 1) -> Path:
    """A UNIPEN file with one segment a label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(".INCLUDE dene.doc\n\n" + "".join(segment(one, writer) for one in labels))
    return path


def write_mirror(root: Path, labels: str = "01") -> Path:
    """All three public sets in their authors' layout: two speakers, three takes a split, one sign a writer."""
    for label in labels:
        for speaker in ("ann", "bob"):
            for take in (0, 1, 7, 8):
                tone = np.sin(np.arange(800) * (0.1 + 0.01 * take + 0.05 * int(label) + 0.02 * (speaker == "ann")))
                write_wav(root / "fsdd" / "recordings" / f"{label}_{speaker}_{take}.wav", 0.5 * tone)
        for split, number in (("Train", 1), ("Train", 2), ("Test", 3)):
            events = [(900 * n + number, (n + int(label)) % 34, n % 30, n % 2) for n in range(200)]
            write_bin(root / "nmnist" / split / label / f"{number:05d}.bin", events)
    write_pen(root / "pendigits" / "pendigits-orig.tra", labels * 2, writer=4)
    write_pen(root / "pendigits" / "pendigits-orig.tes", labels, writer=4)
    return root


def write_own(root: Path, n: int = 4) -> Path:
    """A folder of the user's own: n recordings with all three senses and a recordings.csv."""
    lines = ["id,label,split,subject,audio,events,imu"]
    for i in range(n):
        split = "test" if i % 4 == 3 else "train"
        write_wav(root / "sound" / f"{i}.wav", 0.3 * np.sin(np.arange(900) * (0.1 + 0.01 * i)))
        write_bin(root / "camera" / f"{i}.bin", [(100 * k + i, k % 34, k % 34, 1) for k in range(50)])
        write_imu(root / "touch" / f"{i}.csv", f"t_us,acc_x[m/s^2]\n0,0.{i}\n10000,1.5\n20000,0.5\n")
        lines.append(f"take{i},{'yes' if i % 2 else 'no'},{split},s{i % 3},sound/{i}.wav,camera/{i}.bin,touch/{i}.csv")
    (root / "recordings.csv").write_text("\n".join(lines) + "\n")
    return root


def z_bytes(data: bytes) -> bytes:
    """Up to 250 bytes in the form of Unix compress: magic, then each byte as a code of 9 bits, lowest bit first."""
    assert len(data) <= 250
    bits = sum(byte << 9 * n for n, byte in enumerate(data))
    return b"\x1f\x9d\x90" + bits.to_bytes((9 * len(data) + 7) // 8, "little")
