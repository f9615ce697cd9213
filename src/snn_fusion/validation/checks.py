"""What a good recording and a good data set are: a list of checks for each table that is looked at.

A check is about one column. It says what is allowed and gives the reason why a value is not; Great Expectations
does the looking (expectations.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snn_fusion.config import AudioChecks, EventChecks, ImuChannel, ImuChecks, Params, ValidationParams
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.window import LEAST_INSIDE
from snn_fusion.validation.measure import describe_channels

Value = float | int | str | None


@dataclass(frozen=True)
class Check:
    """`column` must lie in [low, high] or be one of `among`; `says` is the check in words.

    With none of these, `kind` is what must hold: the value is absent, present or unique. `wants` says what is
    allowed where the limits themselves do not tell.
    """

    says: str
    column: str
    low: float | None = None
    high: float | None = None
    among: tuple[Value, ...] = ()
    kind: str = "values"  # or 'absent', 'present', 'unique'
    unit: str = ""
    wants: str = ""

    @property
    def allowed(self) -> str:
        """The limits in words."""
        if self.wants:
            return self.wants
        if self.among:
            return self._with_unit(" or ".join(show(v) for v in self.among))
        if self.low is not None and self.high is not None:
            return self._with_unit(f"{show(self.low)} to {show(self.high)}")
        if self.low is not None:
            return self._with_unit(f"at least {show(self.low)}")
        if self.high is not None:
            return self._with_unit(f"at most {show(self.high)}")
        return {"absent": "nothing", "present": "not empty", "unique": "once"}[self.kind]

    def reason(self, value: Value) -> str:
        """Why a recording with this value is refused: the check, the value and what is allowed."""
        if self.kind == "absent":
            return f"{self.says}: {show(value)}"
        return f"{self.says}: {self.column} = {self._with_unit(show(value))}, allowed {self.allowed}"

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text


def show(value: Value) -> str:
    """A value as people read it: numbers with five digits, text in quotes only where it would be invisible."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "nothing"
    if isinstance(value, str):
        return value.strip() or repr(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True)
class Outcome:
    """What became of one check of one suite. `failed` holds (id, value) of each row that broke it."""

    suite: str
    check: Check
    expectation: str  # its name in Great Expectations
    rows: int
    observed: str
    failed: tuple[tuple[str, Value], ...]

    @property
    def success(self) -> bool:
        return not self.failed

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """(id, reason) of each row that broke the check."""
        return [(name, self.check.reason(value)) for name, value in self.failed]


READABLE = Check("unreadable", "error", kind="absent")
INSIDE = Check("outside the window (encoding.steps, encoding.onset)", "used_share", low=LEAST_INSIDE)


def audio_checks(limits: AudioChecks) -> list[Check]:
    return [
        READABLE,
        Check("sample rate", "rate_hz", among=tuple(limits.rates_hz), unit="Hz"),
        Check("duration", "duration_s", *limits.duration_s, unit="s"),
        Check("NaN or infinity", "not_finite", among=(0,)),
        Check("silence", "rms", low=limits.min_rms),
        Check("clipping", "clipped_share", high=limits.max_clipped_share),
        INSIDE,
    ]


def event_checks(limits: EventChecks) -> list[Check]:
    return [
        READABLE,
        Check("timestamps going back", "backwards", among=(0,)),
        Check("coordinates outside the sensor", "outside", among=(0,)),
        Check("polarity other than 0 and 1", "bad_polarity", among=(0,)),
        Check("duration", "duration_s", *limits.duration_s, unit="s"),
        Check("event rate", "rate_hz", *limits.rate_hz, unit="events/s"),
        Check("both polarities", "rarer_polarity_share", low=limits.min_polarity_share),
        Check("hot pixel", "busiest_pixel_share", high=limits.max_pixel_share),
        INSIDE,
    ]


def imu_checks(limits: ImuChecks, channels: Sequence[ImuChannel]) -> list[Check]:
    wanted = describe_channels([c.name for c in channels], [c.unit for c in channels])
    return [
        READABLE,
        Check("channels and units", "missing_channels", kind="absent", wants=wanted),
        Check("timestamps not rising", "backwards", among=(0,)),
        Check("duration", "duration_s", *limits.duration_s, unit="s"),
        Check("sampling rate", "rate_hz", *limits.rate_hz, unit="Hz"),
        Check("gap", "gap_s", high=limits.max_gap_s, unit="s"),
        Check("NaN or infinity", "not_finite", among=(0,)),
        Check("movement", "moving_channels", low=1),
        Check("saturation", "saturated_share", high=limits.max_saturated_share),
        INSIDE,
    ]


def sense_checks(params: Params) -> dict[Sense, list[Check]]:
    """The checks of one recording, for each sense."""
    limits = params.validation
    return {
        "audio": audio_checks(limits.audio),
        "events": event_checks(limits.events),
        "imu": imu_checks(limits.imu, params.encoding.imu.channels),
    }


def manifest_checks() -> list[Check]:
    """The checks of a row of the manifest."""
    return [
        Check("duplicate id", "id", kind="unique"),
        Check("label", "label", kind="present"),
        Check("split", "split", among=("train", "test")),
    ]


SUBJECT_CHECKS = [Check("subject in several splits", "splits", among=("train", "test"))]
LABEL_CHECKS = [
    Check("unknown label (no training recording)", "train", low=1),
    Check("untested label", "test", low=1),
]


def balance_checks(limits: ValidationParams) -> list[Check]:
    return [Check("class balance", "class_ratio", high=limits.max_class_ratio)]


def missing_channels(measured: Value, channels: Sequence[ImuChannel]) -> str | None:
    """Channels that the encoder needs and a recording with these (`acc_x [m/s^2], ...`) does not have."""
    if not isinstance(measured, str):
        return None  # the recording could not be read
    there = set(measured.split(", "))
    missing = [w for c in channels if (w := describe_channels([c.name], [c.unit])) not in there]
    return f"{', '.join(missing)} missing; it has {measured}" if missing else None
