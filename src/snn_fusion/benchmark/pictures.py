"""All pictures of one evaluation, for the report and as files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from snn_fusion.benchmark import figures
from snn_fusion.benchmark.conditions import VIEWS
from snn_fusion.benchmark.evaluate import Example
from snn_fusion.benchmark.style import LONG_NAMES, house_style, png
from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.plots import figure_recording

History = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Picture:
    """A figure, what it shows in words (for who cannot see it), and a caption."""

    figure: Figure
    title: str
    caption: str = ""
    wide: bool = False


def read_history(path: Path) -> History:
    """The columns of trained/history.csv; what is empty is NaN."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {name: np.array([float(line[name] or "nan") for line in lines]) for name in (lines[0] if lines else ())}


def draw(
    content: Mapping[str, Any],
    history: History,
    example: Example,
    signals: Mapping[Sense, Signal],
    encoding: EncodingParams,
) -> dict[str, Picture]:
    """Pictures by file name: accuracy, time, confusion_*, learning_*, example_*; `signals` are the example's."""
    with house_style():
        return {
            **_accuracy(content),
            **_confusion(content),
            **_learning(history),
            **_example(content, example, signals, encoding),
        }


def save_figures(pictures: Mapping[str, Picture], folder: Path) -> list[Path]:
    """Each picture as folder/<name>.png, on white."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(png(picture.figure))
    return sorted(folder.glob("*.png"))


def _accuracy(content: Mapping[str, Any]) -> dict[str, Picture]:
    chance = 1 / len(content["classes"])
    return {
        "accuracy": Picture(
            figures.accuracy_by_condition(content["accuracy"], chance),
            "Accuracy of each sense alone and of all senses fused, under every condition",
            "Bars are Wilson 95 % intervals. A silent sense is measured for the fused answer only.",
            wide=True,
        ),
        "time": Picture(
            figures.accuracy_over_time(content["accuracy_by_step"], content["step_ms"], chance),
            "Accuracy if the answer is read after each step",
            "The network answers at any time: accuracy of clean recordings if it is read after each step.",
            wide=True,
        ),
    }


def _confusion(content: Mapping[str, Any]) -> dict[str, Picture]:
    found = {}
    for view in (v for v in ("fused", *VIEWS[:-1]) if v in content["confusion"]):
        matrix = np.array(content["confusion"][view], np.int64)
        title = LONG_NAMES[view][0].upper() + LONG_NAMES[view][1:]
        wrong = int(matrix.sum() - matrix.trace())
        heading = f"{title}: {wrong:,} {'error' if wrong == 1 else 'errors'}"
        drawn = figures.confusion(matrix, content["classes"], heading)
        found[f"confusion_{view}"] = Picture(drawn, f"Confusion matrix, {title}")
    return found


def _learning(history: History) -> dict[str, Picture]:
    if not history:
        return {}
    return {f"learning_{k}": Picture(v, f"{k} by epoch") for k, v in figures.learning_curves(history).items()}


def _example(
    content: Mapping[str, Any], example: Example, signals: Mapping[Sense, Signal], encoding: EncodingParams
) -> dict[str, Picture]:
    step_ms = content["step_ms"]
    found = {
        f"example_{sense}": Picture(figure_recording({sense: signal}, encoding, ""), f"{sense} and its input spikes")
        for sense, signal in signals.items()
    }
    for name, fired in example.layers.items():
        steps, neurons = np.nonzero(fired)
        drawn = figures.raster(steps, neurons, fired.shape, name, step_ms)
        found[f"example_layer_{name}"] = Picture(drawn, f"Spikes of layer {name}")
    drawn = figures.potentials(example.potential, content["classes"], example.prediction, step_ms)
    said = content["classes"][example.prediction]
    caption = f"{example.row.id}: recorded {example.row.label!r}, answered {said!r}."
    found["example_readout"] = Picture(drawn, "Membrane potential of each class's readout neuron", caption)
    return found
