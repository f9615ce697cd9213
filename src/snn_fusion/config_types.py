"""The kinds of value that parameters have, and what every section of them has in common."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def ascending(values: list[Any]) -> bool:
    return all(a < b for a, b in pairwise(values))


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# Upper bounds are far above what makes sense, and below what ends in a traceback or never.
Hertz = Annotated[int, Field(ge=1, le=10_000_000)]
Neurons = Annotated[int, Field(ge=1, le=16_384)]
Rounds = Annotated[int, Field(ge=1, le=100_000)]
Recordings = Annotated[int, Field(ge=1, le=10_000_000)]
EventCount = Annotated[int, Field(ge=1, le=65_535)]  # what a cell of the encoder can hold
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    require(
        interval[0] < interval[1], f"the first value must be below the second, {interval[0]} is not below {interval[1]}"
    )
    return interval


Interval = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


def _distinct(values: list[Any]) -> list[Any]:
    twice = sorted({value for value in values if values.count(value) > 1})
    require(not twice, f"{', '.join(map(str, twice))} more than once")
    return values


Distinct = AfterValidator(_distinct)
SenseName = Literal["audio", "events", "imu"]
TargetName = Literal["loihi2", "akida", "akida2", "spinnaker"]


class Section(BaseModel):
    """Unknown keys are refused, values are not coerced, nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
