"""Parameters that are possible alone and impossible together, found when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_fusion.config import ImuCode, ImuPlane, Params

# Key of the parameter to change, and what follows it in the message: its value, what it contradicts, the remedy.
Found = tuple[str, str]


def contradictions(params: Params) -> list[Found]:
    """Every pair of parameters that no recording or network can satisfy."""
    return [
        *_audio(params),
        *_onset(params),
        *_durations(params),
        *_gap(params),
        *_planes(params.encoding.imu),
        *_senses(params),
    ]


def _audio(params: Params) -> Iterator[Found]:
    rates, code = params.validation.audio.rates_hz, params.encoding.audio
    lowest = min(rates)
    if lowest < 2 * code.high_hz:
        yield (
            "encoding.audio.high_hz",
            f" = {code.high_hz:g}: validation.audio.rates_hz allows recordings of {lowest:,} Hz, which hold no "
            f"frequencies above {lowest / 2:g} Hz; lower high_hz to that, or take {lowest} out of rates_hz",
        )
    if code.thresholds_db[0] >= 0:
        yield (
            "encoding.audio.thresholds_db",
            f" = {code.thresholds_db}: they are relative to the running peak level, which no band exceeds: none would "
            "ever spike; the lowest must be below 0",
        )


def _onset(params: Params) -> Iterator[Found]:
    code = params.encoding
    window_ms = code.steps * code.step_ms
    if code.onset and code.onset.look_back_ms > window_ms:
        yield (
            "encoding.onset.look_back_ms",
            f" = {code.onset.look_back_ms:g}: a signal that begins after the window of {window_ms:g} ms (encoding."
            f"steps x step_ms) and within that time would not be seen; {window_ms:g} at most",
        )


def _durations(params: Params) -> Iterator[Found]:
    step_s = params.encoding.step_ms / 1000
    for sense in params.network.branch:
        longest = getattr(params.validation, sense).duration_s[1]
        if longest < step_s:
            yield (
                f"validation.{sense}.duration_s",
                f" allows {longest:g} s at most, less than one step: encoding.step_ms = {params.encoding.step_ms:g}; "
                "raise duration_s or lower step_ms",
            )


def _gap(params: Params) -> Iterator[Found]:
    limits = params.validation.imu
    shortest = 1 / limits.rate_hz[1]
    if limits.max_gap_s < shortest:
        yield (
            "validation.imu.max_gap_s",
            f" = {limits.max_gap_s:g}: samples are {shortest:g} s apart at the highest rate that "
            f"validation.imu.rate_hz allows, {limits.rate_hz[1]:g} Hz, so every recording "
            "would be refused; raise one of them",
        )


def _planes(code: ImuCode) -> Iterator[Found]:
    units = {channel.name: channel.unit for channel in code.channels}
    for number, plane in enumerate(code.planes):
        if problem := _plane(plane, units):
            yield f"encoding.imu.planes.{number}", problem


def _plane(plane: ImuPlane, units: dict[str, str]) -> str:
    if plane.x == plane.y:
        return f": x and y are both {plane.x}; a plane has two different channels"
    if units[plane.x] != units[plane.y]:
        mixed = f"{plane.x} [{units[plane.x]}] and {plane.y} [{units[plane.y]}]"
        return f": {mixed} have different units, so there is no direction between them; name two of the same unit"
    return ""


def _senses(params: Params) -> Iterator[Found]:
    branches = ", ".join(params.network.branch)
    for sense, count in params.encoding.copies.items():
        if count and sense not in params.network.branch:
            yield (
                f"encoding.copies.{sense}",
                f" = {count}: network.branch has {branches} only, so nothing would use them; remove it from "
                f"copies or add {sense} to network.branch",
            )
