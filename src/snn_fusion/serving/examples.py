"""Recordings to try the service with: synthetic ones of each digit, and what a pen felt while something was drawn."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import EVENT, Imu
from snn_fusion.data.stylus import stylus_imu
from snn_fusion.data.synthetic_camera import SIZE, watch
from snn_fusion.data.synthetic_glyph import LABELS, Person, draw_glyph
from snn_fusion.data.synthetic_pen import feel
from snn_fusion.data.synthetic_voice import RATE, speak
from snn_fusion.data.unipen import Stroke
from snn_fusion.serving import limits
from snn_fusion.serving.answering import share
from snn_fusion.serving.arrays import numbers
from snn_fusion.serving.body import Body, reading
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.query import query, whole
from snn_fusion.serving.reply import reply

SEEDS = 1_000
COORDINATE = np.dtype("<f8")
PAD_M = 1.0  # m, as far from the middle as a pen may be
Wire = dict[str, Any]


def example(label: str, seed: int = 0, code: EncodingParams | None = None) -> Wire:
    """One synthetic recording of a digit in all three senses, as /v1/predict takes it; of the IMU's channels those that
    `code` encodes, where it is given.

    From the generator that stands in where no real recordings can be had (docs/recordings.md): a made-up person says
    and writes the digit. The same label and seed give the same recording. Raises Problem 404 for another label, 422
    for another seed.
    """
    if label not in LABELS:
        raise Problem(404, "label", f"there is no example of {label[:40]!r}", f"of {', '.join(LABELS)}")
    if not 0 <= seed < SEEDS:
        raise invalid("seed", str(seed), f"0 ... {SEEDS - 1}")
    rng = np.random.default_rng([seed, LABELS.index(label)])
    person = Person.draw(rng)
    strokes = draw_glyph(label, person, rng)
    ears = speak(label, person, rng)  # (n, 2)
    seen = watch(strokes, person, rng)
    return {
        "audio": {"samples": [round(one / 32768, 5) for one in ears.mean(axis=1).tolist()], "rate": RATE},
        "events": _camera(seen, code),
        "imu": imu(feel(strokes, person, rng), code),
    }


def _camera(seen: npt.NDArray[np.void], code: EncodingParams | None) -> Wire:
    """Events as /v1/predict takes them, spread over the frame that `code` is for, where it is given."""
    width, height = (code.events.frame if code else None) or (SIZE, SIZE)
    columns = {name: seen[name].astype(np.int64) for name in EVENT.names or ()}
    columns["x"], columns["y"] = columns["x"] * width // SIZE, columns["y"] * height // SIZE
    return {**{name: values.tolist() for name, values in columns.items()}, "width": width, "height": height}


def imu(signal: Imu, code: EncodingParams | None = None) -> Wire:
    """An IMU's signal as /v1/predict takes it: the channels that `code` encodes, where it is given."""
    if code is not None:
        signal = signal.only([one.name for one in code.imu.channels])
    return {
        "t": signal.t.tolist(),
        "channels": {
            name: [round(one, 4) for one in column.tolist()]
            for name, column in zip(signal.channels, signal.values.T, strict=True)
        },
        "units": dict(zip(signal.channels, signal.units, strict=True)),
    }


class StrokeIn(msgspec.Struct, forbid_unknown_fields=True):
    """Where the pen was while it touched: metres, x to the right, y up, a point every `sample_ms`."""

    x: msgspec.Raw
    y: msgspec.Raw


class PenIn(msgspec.Struct, forbid_unknown_fields=True):
    """What was drawn; `gap_ms` from the last point of a stroke to the first of the next."""

    strokes: Annotated[list[StrokeIn], msgspec.Meta(max_length=limits.PARTS)]
    sample_ms: float = 10.0
    gap_ms: float = 100.0


def felt(given: PenIn) -> Imu:
    """What an inertial sensor in the pen would have felt, by data/stylus.py. Raises Problem."""
    if not 1 <= len(given.strokes) <= limits.STROKES:
        raise invalid("strokes", f"{len(given.strokes):,} strokes", f"1 ... {limits.STROKES}")
    for name, value, low, high in (("sample_ms", given.sample_ms, 0.1, 1000), ("gap_ms", given.gap_ms, 0, 60_000)):
        if not low <= value <= high:
            raise invalid(name, f"{value:g} ms", f"{low:g} ... {high:,} ms")
    strokes, points = list[Stroke](), 0
    for i, one in enumerate(given.strokes):
        x, y = (
            numbers(axis, COORDINATE, f"strokes[{i}].{name}", limits.POINTS)
            for name, axis in (("x", one.x), ("y", one.y))
        )
        if len(x) != len(y) or not len(x):
            raise invalid(f"strokes[{i}]", f"x: {len(x)}, y: {len(y)}", "both of the same length, 1 or more")
        points += len(x)
        if points > limits.POINTS:
            raise invalid("strokes", f"more than {limits.POINTS:,} points", f"1 ... {limits.POINTS:,}")
        place = np.column_stack([x, y])  # (n, 2)
        if not (np.abs(place) <= PAD_M).all():
            raise invalid(f"strokes[{i}]", "goes too far", f"-{PAD_M:g} ... {PAD_M:g} m")
        strokes.append(Stroke(place, round(1000 * given.sample_ms), round(1000 * given.gap_ms)))
    return stylus_imu(strokes)


async def listed(request: Request) -> Response:
    """Of what there are examples."""
    query(request)
    return reply(request, {"labels": list(LABELS), "seeds": SEEDS, "source": "synthetic"})


async def one(request: Request) -> Response:
    """A synthetic recording of a label, which can be sent to /v1/predict as it is."""
    service, label, seed = (
        request.app.state.service,
        request.path_params["label"],
        whole(query(request, "seed"), "seed", 0, 0, SEEDS - 1),
    )
    code = service.model.graph.encoding
    share(service)  # which refuses it in its turn
    made: Response = await service.workers.run(lambda: reply(request, example(label, seed, code)))
    return made


async def pen(request: Request) -> Response:
    """A pen's path as the recording of an inertial sensor in it."""
    query(request)
    service = request.app.state.service
    code = service.model.graph.encoding

    def work(body: Body) -> Response:
        return reply(request, {"imu": imu(felt(body.decoded(PenIn)), code)})

    async with reading(request, service.held) as body:
        share(service)  # which refuses it in its turn
        made: Response = await service.workers.run(partial(work, body))
        return made


ROUTES = [
    Route("/v1/examples", listed),
    Route("/v1/examples/{label}", one),
    Route("/v1/pen", pen, methods=["POST"]),
]
