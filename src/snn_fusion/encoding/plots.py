"""Pictures of a recording beside the spikes it becomes, on one time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.dataset import matching
from snn_fusion.data.manifest import Row, load_together, read_manifest
from snn_fusion.data.recording import SENSES, Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding import audio, events
from snn_fusion.encoding.encoder import encode_together
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS: dict[Sense, str] = {"audio": "#0072B2", "events": "#D55E00", "imu": "#009E73"}
FRAMES = 6


def figure_recording(signals: Mapping[Sense, Signal], params: EncodingParams, title: str) -> Figure:
    """A column a sense: the signal above (cochleagram, event frames, IMU traces), its raster of spikes below.

    What lies outside the window that the network sees is grey.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(signals), 5.6), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    axes = figure.subplots(2, len(signals), squeeze=False)
    draw: dict[type, Callable[[Axes, Any, EncodingParams], None]] = {Audio: _sound, Events: _frames, Imu: _traces}
    spikes, window = encode_together(signals, params)
    begin = (window.begin_us or 0) / 1e6
    end = begin + params.steps * params.step_ms / 1000
    last = max([end, *(signal.duration_us / 1e6 for signal in signals.values())])
    for column, (sense, signal) in enumerate(signals.items()):
        draw[type(signal)](axes[0, column], signal, params)
        _raster(axes[1, column], spikes[sense], begin, COLOURS[sense], params)
        for one in axes[:, column] if not isinstance(signal, Events) else axes[1:, column]:
            one.set_xlim(0, last)
            for outside in ((0, begin), (end, last)):
                if outside[0] < outside[1]:
                    one.axvspan(*outside, color="0.6", alpha=0.4, lw=0)
    return figure


def plot_recording(params: Params, ws: Workspace, recording: str, out: Path) -> None:
    """Draw a recording of the validated data set by its id. Raises BadInput if there is none."""
    rows: dict[str, Row] = {}
    for name in ("recordings", "joined"):
        rows |= {row.id: row for row in read_manifest(ws.path("validated", f"{name}.parquet"))}
    if recording not in rows:
        raise _absent(params, ws, recording, list(rows))
    row = rows[recording]
    signals = load_together(ws.path("recordings"), {s: row.senses[s] for s in SENSES if row.has(s)})
    figure_recording(signals, params.encoding, f"{recording}, label {row.label}").savefig(out, dpi=110)


def _absent(params: Params, ws: Workspace, recording: str, known: list[str]) -> BadInput:
    manifest = ws.path("recordings", "manifest.parquet")
    imported = {row.id: row for row in read_manifest(manifest)} if manifest.exists() else {}
    if recording not in imported:
        return BadInput(ws.path("validated"), f"no recording {recording!r}", f"ids look like {', '.join(known[:3])}")
    source = imported[recording].source
    if matching([source], params.data.sources):
        remedy = "run `snn-fusion validate`; if that leaves it out, validated/quarantine.csv may say why"
        return BadInput(recording, "imported, but not in the validated data set", remedy)
    remedy = f"add {source} to data.sources in params.yaml and run `snn-fusion validate`"
    return BadInput(recording, "imported, but not in data.sources", remedy)


def _finish(axes: Axes, title: str, ylabel: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("time (s)")
    axes.spines[["top", "right"]].set_visible(False)


def _sound(axes: Axes, signal: Audio, params: EncodingParams) -> None:
    whole = params.model_copy(update={"steps": math.ceil(signal.duration_us / (1000 * params.step_ms))})
    power = audio.cochleagram(signal, whole)
    code = params.audio
    length = len(power) * params.step_ms / 1000
    axes.imshow(
        power.T, origin="lower", aspect="auto", extent=(0, length, 0, code.bands), vmin=-50, vmax=0, cmap="magma"
    )
    centres = audio.centre_frequencies(code.bands, code.low_hz, code.high_hz)
    ticks = np.linspace(0, code.bands - 1, 5).round().astype(int)
    axes.set_yticks(ticks + 0.5, [f"{centres[t]:.0f}" for t in ticks])
    _finish(axes, "audio: cochleagram, dB below the running peak", "band centre (Hz)")


def _frames(axes: Axes, signal: Events, params: EncodingParams) -> None:
    """Brighter minus darker events of the recording's sixths, in two rows of three."""
    width = math.ceil(signal.duration_us / FRAMES) or 1
    counts = events.bin_events(signal.events, signal.width, signal.height, width, FRAMES).astype(int)
    frames = list(counts[:, 1] - counts[:, 0])
    half = FRAMES // 2
    sheet = np.block([frames[:half], frames[half:]])
    limit = max(np.abs(sheet).max(), 1)
    axes.imshow(sheet, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for k in range(FRAMES):
        row, column = divmod(k, half)
        corner = (column * signal.width + 0.04 * signal.width, (row + 0.13) * signal.height)
        axes.annotate(f"{(k + 0.5) * width / 1e6:.2f} s", corner, fontsize=8, color="0.35")
    axes.set_xticks(np.arange(1, half) * signal.width - 0.5, [""] * (half - 1))
    axes.set_yticks([signal.height - 0.5], [""])
    axes.grid(color="0.6", lw=0.8)
    axes.set_title("events: brighter (red) minus darker (blue)", loc="left", fontsize=10)


def _traces(axes: Axes, signal: Imu, params: EncodingParams) -> None:
    scale = np.abs(signal.values).max(axis=0)
    for k, (name, unit) in enumerate(zip(signal.channels, signal.units, strict=True)):
        label = f"{name} (±{scale[k]:.2g} {'' if unit == '1' else unit})".replace(" )", ")")
        trace = signal.values[:, k] / (2.2 * scale[k] or 1) - k
        axes.plot(signal.t / 1e6, trace, lw=1, drawstyle="steps-post", label=label, color=f"C{k}")
    axes.set_yticks(-np.arange(len(signal.channels)), list(signal.channels))
    axes.legend(fontsize=7, loc="upper right", frameon=False)
    _finish(axes, "imu: channels, each to its own scale", "")


def _raster(axes: Axes, spikes: Spikes, begin_s: float, colour: str, params: EncodingParams) -> None:
    step = np.repeat(np.arange(spikes.rows), spikes.counts())
    axes.plot(begin_s + step * params.step_ms / 1000, spikes.index, "|", ms=2.5, mew=0.8, color=colour)
    axes.set_ylim(-1, spikes.channels)
    _finish(axes, f"{len(spikes.index):,} spikes on {spikes.channels:,} channels", "input channel")
