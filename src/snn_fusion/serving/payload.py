"""Requests on the wire: JSON, or the same in MessagePack, where arrays may be packed little-endian bytes.

| field | JSON | packed in MessagePack |
|---|---|---|
| audio.samples | numbers in [-1, 1] | float32 |
| events.t, imu.t | microseconds | int64 |
| events.x, events.y | pixels | uint16 |
| events.p | 0 or 1 | uint8 |
| imu.channels.NAME | numbers | float32 |
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from snn_fusion.config import EncodingParams
from snn_fusion.data.events import JUMP_REMEDY, dropped_events, impossible_jump, stale_events
from snn_fusion.data.recording import EVENT, MAX_SIDE, Audio, Events, Imu, Sense, Signal
from snn_fusion.serving import limits
from snn_fusion.serving.arrays import LAST, numbers
from snn_fusion.serving.kinds import JSON, MSGPACK, kind_of
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.undecoded import undecoded

Numbers = msgspec.Raw  # a list of numbers, or packed bytes; in JSON those are base64
Few = msgspec.Meta(max_length=limits.PARTS)


class AudioIn(msgspec.Struct, forbid_unknown_fields=True):
    samples: Numbers
    rate: int


class EventsIn(msgspec.Struct, forbid_unknown_fields=True):
    t: Numbers
    x: Numbers
    y: Numbers
    p: Numbers
    width: int
    height: int


class ImuIn(msgspec.Struct, forbid_unknown_fields=True):
    t: Numbers
    channels: Annotated[dict[str, Numbers], Few]
    units: Annotated[dict[str, str], Few] = {}


class Recording(msgspec.Struct, forbid_unknown_fields=True):
    """Any subset of the senses."""

    audio: AudioIn | None = None
    events: EventsIn | None = None
    imu: ImuIn | None = None


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    recordings: Annotated[list[Recording], Few]


class Message(Recording, forbid_unknown_fields=True):
    """Of a stream: `start` names the senses that will come, then chunks of them, then `end`."""

    start: Annotated[list[str], Few] | None = None
    end: bool = False


@cache
def _decoder(kind: str, of: type) -> Any:
    return {JSON: msgspec.json.Decoder, MSGPACK: msgspec.msgpack.Decoder}[kind](of)


def decode(body: bytes | bytearray, content_type: str, of: type) -> Any:
    """A body as the struct `of`. Raises Problem: 415 for another content type, 400 and 422 naming the field."""
    kind = kind_of(content_type)
    if kind == JSON:
        _few_parts(body)
    try:
        return _decoder(kind, of).decode(body)
    except msgspec.ValidationError as error:
        raise undecoded(error, of) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise Problem(400, "body", f"cannot be read: {str(error)[:120]}", f"{kind}; see /docs") from None


def _few_parts(body: bytes | bytearray) -> None:
    """Count what objects would be made of, before any is. MessagePack says so itself. Raises Problem."""
    for mark, what, most in ((b"{", "objects", limits.OBJECTS), (b'"', "quotation marks", limits.QUOTES)):
        count, at = 0, body.find(mark)  # which is far faster than `count` where there are few
        while at >= 0:
            if (count := count + 1) > most:
                raise invalid("body", f"holds {body.count(mark):,} {what}", f"at most {most:,}")
            at = body.find(mark, at + 1)


def wired(content: Any, of: type) -> Any:
    """Plain lists and dictionaries as the struct `of`, by way of the wire. Raises Problem."""
    return decode(msgspec.msgpack.encode(content), MSGPACK, of)


def signals(given: Recording, params: EncodingParams, at: str = "", chunk: bool = False) -> dict[Sense, Signal]:
    """What was sent of each sense. `chunk`: a part of a recording, which may be short or empty. Raises Problem."""
    found: dict[Sense, Signal] = {}
    if given.audio is not None:
        found["audio"] = _audio(given.audio, f"{at}audio", params, chunk)
    if given.events is not None:
        found["events"] = _events(given.events, f"{at}events", params, chunk)
    if given.imu is not None:
        found["imu"] = _imu(given.imu, f"{at}imu", params, chunk)
    if not found and not chunk:
        raise invalid(at.rstrip(".") or "body", "has none of the senses", "at least one of audio, events, imu")
    return found


def _audio(given: AudioIn, at: str, params: EncodingParams, chunk: bool) -> Audio:
    lowest = int(2 * params.audio.high_hz)
    if not lowest <= given.rate <= limits.RATE:
        raise invalid(f"{at}.rate", f"{given.rate} Hz", f"{lowest} ... {limits.RATE:,} Hz")
    samples = numbers(given.samples, np.dtype("<f4"), f"{at}.samples", limits.SAMPLES)
    least = 0 if chunk else int(np.ceil(params.step_ms * given.rate / 1000))
    if len(samples) < least:
        raise invalid(f"{at}.samples", f"{len(samples)} samples", f"at least {least}, a step of {params.step_ms:g} ms")
    if len(samples) and float(np.abs(samples).max()) > 1:
        worst = int(np.abs(samples).argmax())
        raise invalid(f"{at}.samples[{worst}]", f"{samples[worst]:g}", _full_scale(float(np.abs(samples[worst]))))
    if len(samples) > (most := span_us(params)) * given.rate / 1e6:
        raise invalid(f"{at}.samples", f"last {len(samples) / given.rate:,.0f} s", f"{most / 1e6:,.0f} s at most")
    return Audio(samples, given.rate)


def span_us(params: EncodingParams) -> int:
    """The longest that a recording, or a message of a stream, may last: far more than a window holds."""
    return max(limits.SPAN_US, round(2000 * params.steps * params.step_ms))


def _full_scale(worst: float) -> str:
    """The limit, with what brings samples of whole numbers there, where these look like some."""
    for bits in (16, 24, 32):
        if 2 ** (bits - 9) < worst <= 2 ** (bits - 1):
            return f"-1 ... 1, full scale: divide samples of {bits}-bit whole numbers by {2 ** (bits - 1):,}"
    return "-1 ... 1, full scale: divide by the largest value that the format can hold"


def _events(given: EventsIn, at: str, params: EncodingParams, chunk: bool) -> Events:
    for name, side in (("width", given.width), ("height", given.height)):
        if not 1 <= side <= MAX_SIDE:
            raise invalid(f"{at}.{name}", f"{side} pixels", f"1 ... {MAX_SIDE:,}")
    tops = {"t": LAST, "x": given.width - 1, "y": given.height - 1, "p": 1}
    arrays = {
        name: numbers(getattr(given, name), np.dtype(f"<{kind}"), f"{at}.{name}", limits.EVENTS, tops[name])
        for name, kind in _EVENT.items()
    }
    _same_length(arrays, at)
    if not len(arrays["t"]) and not chunk:
        raise invalid(at, "holds no events", "at least one; leave it out if there are none")
    _within(arrays["t"], 0, LAST, f"{at}.t")
    stale = 0 if chunk else stale_events(arrays["t"])
    remarks = (dropped_events(arrays["t"], stale),) if stale else ()
    arrays = {name: values[stale:] for name, values in arrays.items()}
    if jump := impossible_jump(arrays["t"]):
        raise invalid(f"{at}.t[{stale + jump[0]}]", jump[1], JUMP_REMEDY)
    _times(arrays["t"], f"{at}.t", params, strictly=False, before=stale)
    for name in ("x", "y", "p"):
        _within(arrays[name], 0, tops[name], f"{at}.{name}", stale)
    events = np.empty(len(arrays["t"]), EVENT)
    for name, values in arrays.items():
        events[name] = values
    return Events(events, given.width, given.height, remarks)


_EVENT = {"t": "i8", "x": "u2", "y": "u2", "p": "u1"}


def _imu(given: ImuIn, at: str, params: EncodingParams, chunk: bool) -> Imu:
    if len(given.channels) > limits.CHANNELS:
        raise invalid(f"{at}.channels", f"{len(given.channels)} channels", f"at most {limits.CHANNELS}")
    wanted = {one.name: one.unit for one in params.imu.channels}
    if wrong := _wrong(given.channels.keys(), wanted.keys()):
        raise invalid(f"{at}.channels", wrong, f"needs {', '.join(wanted)}")
    for name, unit in given.units.items():
        if name in wanted and unit != wanted[name]:
            raise invalid(f"{at}.units.{name[:40]}", repr(unit[:40]), wanted[name])
    t = numbers(given.t, np.dtype("<i8"), f"{at}.t", limits.READINGS)
    channels = {
        name: numbers(given.channels[name], np.dtype("<f4"), f"{at}.channels.{name}", limits.READINGS)
        for name in wanted
    }
    _same_length({"t": t, **{f"channels.{name}": values for name, values in channels.items()}}, at)
    if len(t) < 2 and not chunk:
        raise invalid(f"{at}.t", f"{len(t)} samples", "at least 2")
    _within(t, 0, LAST, f"{at}.t")
    _times(t, f"{at}.t", params, strictly=True)
    return Imu(t, np.column_stack(list(channels.values())), tuple(wanted), tuple(wanted.values()))


def _wrong(given: Set[str], wanted: Set[str]) -> str:
    """Which channels are missing and which are none of the network's, if any."""
    missing, more = sorted(wanted - given), sorted(given - wanted)
    names = ", ".join(one[:40] for one in more[:8]) + (", ..." if len(more) > 8 else "")
    said = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"holds {names}, not taken"] * bool(more)
    return "; ".join(said)


def _same_length(arrays: Mapping[str, npt.NDArray[Any]], at: str) -> None:
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise invalid(at, ", ".join(f"{name}: {n}" for name, n in lengths.items()), "all of the same length")


def _times(t: npt.NDArray[np.int64], at: str, params: EncodingParams, strictly: bool, before: int = 0) -> None:
    """Of any clock: a recording begins with its first time stamp. `before`: events that were left out before `t`."""
    back = np.flatnonzero(np.diff(t) < (1 if strictly else 0))
    if len(back):
        first = int(back[0]) + 1
        limit = "increasing" if strictly else "not below the one before"
        raise invalid(f"{at}[{before + first}]", f"{t[first]} after {t[first - 1]} us", limit)
    most = span_us(params)
    late = int(np.searchsorted(t - t[0], most, side="right")) if len(t) else 0
    if late < len(t):
        problem = f"{t[late]} us, {(t[late] - t[0]) / 1e6:,.0f} s after the first"
        raise invalid(f"{at}[{before + late}]", problem, f"{most / 1e6:,.0f} s at most")


def _within(values: npt.NDArray[Any], low: int, high: int, at: str, before: int = 0) -> None:
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        raise invalid(f"{at}[{before + outside[0]}]", str(values[outside[0]]), f"{low} ... {high:,}")
