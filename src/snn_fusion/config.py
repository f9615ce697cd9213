"""params.yaml, typed and checked as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from snn_fusion.config_contradictions import contradictions
from snn_fusion.config_messages import explain, takes_null
from snn_fusion.config_types import (
    Distinct,
    EventCount,
    Finite,
    Hertz,
    Interval,
    Neurons,
    Positive,
    Recordings,
    Rounds,
    Section,
    SenseName,
    Share,
    TargetName,
)
from snn_fusion.config_types import ascending as _ascending
from snn_fusion.config_types import require as _require
from snn_fusion.errors import BadInput
from snn_fusion.params_layers import Key, read_layers
from snn_fusion.search_space import refusals
from snn_fusion.strict_yaml import check_plain


class DataParams(Section):
    sources: Annotated[list[str], Field(min_length=1), Distinct]
    split: Annotated[str, Field(pattern=r"^(official|leave-out:.+)$")]
    most_per_class: Recordings
    validation_share: Annotated[float, Field(gt=0, lt=0.5)]


class AudioChecks(Section):
    rates_hz: Annotated[list[Hertz], Field(min_length=1), Distinct]
    duration_s: Interval
    min_rms: Annotated[float, Field(gt=0, lt=1)]
    max_clipped_share: Share


class EventChecks(Section):
    rate_hz: Interval
    duration_s: Interval
    min_polarity_share: Annotated[float, Field(ge=0, le=0.5)]
    max_pixel_share: Share


class ImuChecks(Section):
    rate_hz: Interval
    duration_s: Interval
    max_gap_s: Positive
    max_saturated_share: Share


class ValidationParams(Section):
    max_bad_share: Share
    disjoint_subjects: Annotated[list[SenseName], Distinct]
    audio: AudioChecks
    events: EventChecks
    imu: ImuChecks
    max_class_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    max_drift: Positive
    max_offset_s: Positive


class AudioCode(Section):
    bands: Annotated[int, Field(ge=4, le=256)]
    low_hz: Positive
    high_hz: Positive
    level_decay_db_s: Positive
    level_floor_db: Finite
    thresholds_db: Annotated[list[Finite], Field(min_length=1, max_length=64)]
    delta_db: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(self.low_hz < self.high_hz, f"low_hz {self.low_hz} must be below high_hz {self.high_hz}")
        _require(_ascending(self.thresholds_db), f"thresholds_db {self.thresholds_db} must ascend")
        return self


class EventCode(Section):
    grid: Annotated[int, Field(ge=2, le=128)]
    counts: Annotated[list[EventCount], Field(min_length=1, max_length=64)]
    # Graphs that were trained before these were recorded name neither: no frame is refused by them.
    frame: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = None
    other_frames: Literal["refuse", "scale"] = "refuse"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(_ascending(self.counts), f"counts {self.counts} must ascend")
        return self


class ImuChannel(Section):
    name: str
    unit: str
    codes: Annotated[dict[Literal["level", "integral", "integral2", "delta"], Positive], Field(min_length=1)]


class ImuPlane(Section):
    x: str
    y: str
    directions: Annotated[int, Field(ge=4, le=64)]
    floor: Positive


class ImuCode(Section):
    channels: Annotated[list[ImuChannel], Field(min_length=1)]
    planes: list[ImuPlane]
    thresholds: Annotated[list[Finite], Field(min_length=1, max_length=64)]
    leak_s: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(_ascending(self.thresholds), f"thresholds {self.thresholds} must ascend")
        names = [c.name for c in self.channels]
        _require(len(set(names)) == len(names), f"channels name {names} twice")
        unknown = {name for plane in self.planes for name in (plane.x, plane.y)} - set(names)
        _require(not unknown, f"planes name {sorted(unknown)}, which channels do not: {names}")
        return self


class OnsetParams(Section):
    """Where the window begins: where the signal does, if that is after `look_back_ms`."""

    look_back_ms: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
    rise_db: Annotated[float, Field(ge=1, le=60, allow_inf_nan=False)]
    audio_db: Annotated[float, Field(ge=-120, lt=0, allow_inf_nan=False)]
    events_per_s: Positive


class EncodingParams(Section):
    step_ms: Annotated[float, Field(ge=0.1, le=10_000, allow_inf_nan=False)]
    steps: Annotated[int, Field(ge=1, le=10_000)]
    taps: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=64)]
    onset: OnsetParams | None = None  # None: from the first sample on, as networks from before there was a choice
    copies: dict[SenseName, Annotated[int, Field(ge=0, le=50)]]
    audio: AudioCode
    events: EventCode
    imu: ImuCode

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(_ascending(self.taps), f"taps {self.taps} must ascend")
        _require(self.taps[-1] < self.steps, f"taps {self.taps} must end below steps {self.steps}")
        return self


class NetworkParams(Section):
    branch: dict[SenseName, Neurons]
    joint: Neurons
    recurrent: Annotated[list[Literal["audio", "events", "imu", "joint"]], Distinct]
    threshold: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(len(self.branch) > 0, "branch {} must name at least one sense")
        unknown = sorted(set(self.recurrent) - {*self.branch, "joint"})
        _require(not unknown, f"recurrent {unknown} are not among the branches {sorted(self.branch)} or joint")
        return self


class TrainingParams(Section):
    epochs: Rounds
    batch: Annotated[int, Field(ge=1, le=65_536)]
    recordings_per_epoch: Recordings
    learning_rate: Positive
    sense_dropout: Share
    patience: Rounds
    surrogate_slope: Positive


class TargetParams(Section):
    epochs: Annotated[int, Field(ge=0, le=100)]
    max_drop: Share
    waived: dict[TargetName, Annotated[str, Field(min_length=1)]]


class FloorParams(Section):
    """What a first champion must reach, which has no champion to beat."""

    above_chance: Share
    baseline: Share


class RegistryParams(Section):
    experiment: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    significance: Annotated[float, Field(gt=0, lt=1)]
    max_drop: Share
    floor: FloorParams


class Dimension(Section):
    """What the search may give one parameter: a number from `low` to `high`, or one of `choices`."""

    low: Finite | int | None = None
    high: Finite | int | None = None
    log: bool = False
    choices: Annotated[list[Any], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            _require(
                self.low is None and self.high is None and not self.log, "choices leave no room for low, high, log"
            )
            twice = [one for i, one in enumerate(self.choices) if one in self.choices[:i]]
            _require(not twice, f"choices {self.choices} name {twice} twice")
            return self
        _require(self.low is not None and self.high is not None, "low and high, or choices: one of these must be there")
        if self.low is not None and self.high is not None:
            _require(self.low < self.high, f"low {self.low} must be below high {self.high}")
            _require(self.low > 0 or not self.log, f"low {self.low} must be above 0 where log is true")
        return self

    def extremes(self) -> dict[str, Any]:
        """The values that decide whether the parameter takes them all, by their keys."""
        if self.choices is not None:
            return {f"choices.{i}": value for i, value in enumerate(self.choices)}
        return {"low": self.low, "high": self.high}


class SearchParams(Section):
    trials: Annotated[int, Field(ge=1, le=1000)]
    warmup_trials: Annotated[int, Field(ge=0)]
    warmup_epochs: Rounds
    max_failed_share: Share
    space: Annotated[dict[str, Dimension], Field(min_length=1)]


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: DataParams
    validation: ValidationParams
    encoding: EncodingParams
    network: NetworkParams
    training: TrainingParams
    targets: TargetParams
    registry: RegistryParams
    search: SearchParams

    @model_validator(mode="after")
    def _check(self) -> Self:
        space = {name: dimension.extremes() for name, dimension in self.search.space.items()}
        refused = refusals({"network": self.network, "training": self.training}, space)
        _require(not refused, "\n  ".join(refused))
        return self


def load_params(path: Path) -> Params:
    """Read and check a parameters file, with those that it extends.

    Raises BadInput naming every wrong key with its file, its value and what is allowed.
    """
    layers = read_layers(path, lambda key: takes_null(Params, key))
    return _checked(layers.raw, path, layers.owner)


def check_params(raw: object, where: object = "params") -> Params:
    """The typed form of a parsed params.yaml. Raises BadInput."""
    return _checked(raw, where, lambda _: where)


def _checked(raw: object, where: object, owner: Callable[[Key], object]) -> Params:
    check_plain(raw, where)
    try:
        # Lists from YAML stand for tuples, and whole numbers for floats; nothing else is coerced.
        params = Params.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        wrong = [(owner(tuple(one["loc"])), explain(one, Params)) for one in error.errors()]
    else:
        wrong = [(owner(tuple(key.split("."))), f"{key}{problem}") for key, problem in contradictions(params)]
        if not wrong:
            return params
    files = {str(file) for file, _ in wrong}
    if len(wrong) == 1 or len(files) == 1:
        lines = [line for _, line in wrong]
        raise BadInput(wrong[0][0], lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines)) from None
    raise BadInput(where, "\n  " + "\n  ".join(f"{file}: {line}" for file, line in wrong)) from None
