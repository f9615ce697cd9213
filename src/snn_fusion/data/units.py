"""Units as people write them, turned into SI, and times as loggers write them, turned into microseconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadRecording

G = 9.80665  # m/s^2
_ACCELERATION = (
    "m/s^2",
    "m/s2",
    "m/s**2",
    "m/s/s",
    "ms^-2",
    "m s^-2",
    "m*s^-2",
    "ms-2",
    "m s-2",
    "m.s-2",
    "m.s^-2",
    "mps2",
)
_UNITS: dict[str, tuple[str, float]] = {
    **dict.fromkeys(_ACCELERATION, ("m/s^2", 1.0)),
    **dict.fromkeys(("g", "g0", "gn"), ("m/s^2", G)),
    **dict.fromkeys(("mg",), ("m/s^2", G / 1000)),
    **dict.fromkeys(("rad/s", "rad/sec", "rad s-1", "rad s^-1", "rads-1", "rad*s^-1"), ("rad/s", 1.0)),
    **dict.fromkeys(("deg/s", "deg/sec", "dps", "°/s", "°/sec", "degree/s", "degrees/s"), ("rad/s", np.pi / 180)),
    **dict.fromkeys(("mdps", "mdeg/s"), ("rad/s", np.pi / 180_000)),
    **dict.fromkeys(("rad",), ("rad", 1.0)),
    **dict.fromkeys(("deg", "°", "degree", "degrees"), ("rad", np.pi / 180)),
    **dict.fromkeys(("1", "-", "bool", "boolean"), ("1", 1.0)),
}
NO_UNIT = ("", "1", "-")
TIME_UNITS = {"s": 1_000_000, "sec": 1_000_000, "seconds": 1_000_000, "ms": 1000, "us": 1, "ns": 0.001}
EPOCH = {"s": (1e9, 4.1e9), "ms": (1e12, 4.1e12), "us": (1e15, 4.1e15), "ns": (1e18, 4.1e18)}  # 2001 to 2099
RATES_HZ = (0.5, 50_000.0)  # of inertial and tactile sensors; beyond, the time is in another unit than it says
USUAL_HZ = (4.0, 4_000.0)  # three powers of ten: one unit alone gives a rate in it
MAX_US = 2**62


class Unit(NamedTuple):
    """The SI unit, and what a value is multiplied by."""

    name: str
    factor: float


def si_unit(text: str) -> Unit:
    """`g` -> (m/s^2, 9.80665); a unit that is not known stays as it is."""
    plain = _plain(text)
    known = _known(plain)
    return Unit(*known) if known else Unit(plain, 1.0)


def is_unit(text: str) -> bool:
    """Whether it is a known unit, of time or of an inertial or tactile sensor."""
    return text not in NO_UNIT and (time_unit(text) is not None or _known(_plain(text)) is not None)


def _plain(text: str) -> str:
    plain = text.strip().replace("²", "^2").replace("⁻", "^-").replace("¹", "1").replace("·", "*").replace("−", "-")
    return plain.replace("µ", "u").replace("μ", "u")


def _known(plain: str) -> tuple[str, float] | None:
    return _UNITS.get(plain) or _UNITS.get(plain.lower() if plain.lower() != "mg" else plain)


def time_unit(text: str) -> str | None:
    """One of s, ms, us and ns, None if `text` is no unit of time."""
    plain = text.strip().lower().replace("µ", "u").replace("μ", "u")
    return {"sec": "s", "seconds": "s", "second": "s"}.get(plain, plain) if plain in (*TIME_UNITS, "second") else None


def microseconds(
    path: Path, name: str, time: npt.NDArray[np.int64] | npt.NDArray[np.float64], unit: str | None
) -> tuple[npt.NDArray[np.int64], str]:
    """Times (n,) in us as int64, and a remark if the unit had to be found out.

    Without a `unit` it is the one in which the values are a date of this century, if that gives a possible sampling
    rate, or the one that gives a usual rate: clocks that count from boot pass numbers that would be dates in another
    unit. Raises BadRecording if no unit does or two do, or if the unit that is given makes the rate impossible.
    """
    steps = np.diff(time)
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    likely = _likely(abs(float(time[0])), step)
    if unit is None:
        if not likely:
            problem = f"{name}: its unit is not said, and steps of {step:g} are usual in none of {', '.join(EPOCH)}"
            raise BadRecording(path, problem, "say the unit: t_us, t_ms, t_s or t_ns")
        if len(likely) > 1:
            both = " or ".join(f"{one}, {why} ({_rate(step, one)} samples a second)" for one, why in likely.items())
            remedy = f"say the unit: {' or '.join(f't_{one}' for one in likely)}"
            raise BadRecording(path, f"{name}: its unit is not said, and may be {both}", remedy)
        unit, why = next(iter(likely.items()))
        return _scaled(path, name, time, unit), f"{name}: taken as {unit}, {why}"
    if step > 0 and not _is_possible(step, unit):
        problem = f"{name}: {time[0]}, {time[1]}, ... in {unit} would be {_rate(step, unit)} samples a second"
        names = " or ".join(f"t_{one}" for one in likely)
        remedy = f"they look like {' or '.join(likely)}: name the column {names}" if likely else "name it by its unit"
        raise BadRecording(path, problem, f"{remedy}, or give imu_columns in recordings.csv")
    return _scaled(path, name, time, unit), ""


def _likely(first: float, step: float) -> dict[str, str]:
    """Units that a clock may count in which begins at `first` and has steps of `step`, and what speaks for each."""
    found = {}
    for unit, (low, high) in EPOCH.items():
        if low <= first < high and (step == 0 or _is_possible(step, unit)):
            found[unit] = "by its date"
    for unit, (_, high) in EPOCH.items():
        if step > 0 and first < high and USUAL_HZ[0] <= _hz(step, unit) < USUAL_HZ[1]:  # beyond, no clock has been
            found.setdefault(unit, "by its steps")
    return found


def _is_possible(step: float, unit: str) -> bool:
    return RATES_HZ[0] <= _hz(step, unit) <= RATES_HZ[1]


def _hz(step: float, unit: str) -> float:
    return 1e6 / (step * TIME_UNITS[unit])


def _rate(step: float, unit: str) -> str:
    rate = _hz(step, unit)
    return f"{rate:,.0f}" if rate >= 1 else f"{rate:.3g}"


def _scaled(
    path: Path, name: str, time: npt.NDArray[np.int64] | npt.NDArray[np.float64], unit: str
) -> npt.NDArray[np.int64]:
    if len(time) and float(np.abs(time).max()) * TIME_UNITS[unit] > MAX_US:
        row = int(np.argmax(np.abs(time)))
        raise BadRecording(path, f"{name}: row {row + 1} is {time[row]}, beyond any clock")
    if time.dtype != np.int64:
        return np.rint(time * TIME_UNITS[unit]).astype(np.int64)
    whole = time.astype(np.int64, copy=False)
    return whole // 1000 if unit == "ns" else whole * int(TIME_UNITS[unit])


def name_and_unit(text: str) -> tuple[str, str]:
    """`acc_x[m/s^2]` and `acc_x (m/s^2)` -> (`acc_x`, `m/s^2`); the unit is '' if there is none."""
    found = re.fullmatch(r"\s*(.*?)\s*(?:\[([^\[\]]+)\]|\(([^()]+)\))\s*", text)
    return (found[1], (found[2] or found[3]).strip()) if found and found[1] else (text.strip(), "")
