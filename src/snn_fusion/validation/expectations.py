"""Checks as Great Expectations suites. Importing this module imports Great Expectations, which takes seconds."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

from snn_fusion.validation.checks import Check, Outcome, Value, show


class ExpectEventTimesToNotDecrease(gxe.ExpectColumnValuesToBeInSet):
    """No event of a recording comes before the one that precedes it in the file, or before the start."""

    column: str = "backwards"


class ExpectEventCoordinatesInsideSensor(gxe.ExpectColumnValuesToBeInSet):
    """Every event of a recording lies on the sensor's pixels."""

    column: str = "outside"


class ExpectEventPolaritiesInSet(gxe.ExpectColumnValuesToBeInSet):
    """Every event of a recording has polarity 0 (darker) or 1 (brighter)."""

    column: str = "bad_polarity"


class ExpectEventRateInBand(gxe.ExpectColumnValuesToBeBetween):
    """A recording's mean event rate (events a second) lies in a band."""

    column: str = "rate_hz"


class ExpectNoHotPixel(gxe.ExpectColumnValuesToBeBetween):
    """No single pixel makes more than a share of a recording's events."""

    column: str = "busiest_pixel_share"


# Expectations about events that the library has no notion of, under names of their own in every result.
EVENT_NATIVE: dict[str, type[Any]] = {
    "backwards": ExpectEventTimesToNotDecrease,
    "outside": ExpectEventCoordinatesInsideSensor,
    "bad_polarity": ExpectEventPolaritiesInSet,
    "rate_hz": ExpectEventRateInBand,
    "busiest_pixel_share": ExpectNoHotPixel,
}


def expectation(suite: str, check: Check) -> Any:
    """A check as an expectation of the library."""
    native = EVENT_NATIVE if suite == "events" else {}
    meta = {"says": check.says, "allowed": check.allowed}
    if check.kind != "values":
        kinds = {
            "absent": gxe.ExpectColumnValuesToBeNull,
            "present": gxe.ExpectColumnValuesToNotBeNull,
            "unique": gxe.ExpectColumnValuesToBeUnique,
        }
        return kinds[check.kind](column=check.column, meta=meta)
    if check.among:
        in_set = native.get(check.column, gxe.ExpectColumnValuesToBeInSet)
        return in_set(column=check.column, value_set=list(check.among), meta=meta)
    between = native.get(check.column, gxe.ExpectColumnValuesToBeBetween)
    return between(column=check.column, min_value=check.low, max_value=check.high, meta=meta)


class Validator:
    """Runs suites over tables in an ephemeral context: nothing of the library's own is written anywhere."""

    def __init__(self) -> None:
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False)
        context = gx.get_context(mode="ephemeral", project_config=config)
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("validation").add_dataframe_asset("table")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def run(self, suite: str, checks: Sequence[Check], rows: Sequence[Mapping[str, Value]]) -> list[Outcome]:
        """The outcome of each check over rows that each have an `id` and the checked columns.

        A value that is missing or NaN breaks only the check that it be present.
        """
        if not rows:
            return []
        columns = dict.fromkeys(["id", *(c.column for c in checks)])
        table = pd.DataFrame([{name: row.get(name) for name in columns} for row in rows], columns=list(columns))
        results = (
            self._batches.get_batch({"dataframe": table})
            .validate(
                gx.ExpectationSuite(name=suite, expectations=[expectation(suite, c) for c in checks]),
                result_format={
                    "result_format": "COMPLETE",
                    "unexpected_index_column_names": ["id"],
                    "return_unexpected_index_query": False,
                },
            )
            .results
        )
        by_key = {_key(r.expectation_config): r for r in results}
        return [_outcome(suite, check, by_key[check.says], table) for check in checks]


def _key(config: Any) -> str:
    return str(config.meta["says"])


def _outcome(suite: str, check: Check, result: Any, table: pd.DataFrame) -> Outcome:
    if result.exception_info.get("raised_exception") or "unexpected_index_list" not in result.result:
        # Great Expectations reports its own errors as failed expectations; one that was not looked at is neither.
        raise RuntimeError(f"{suite}: {check.says} could not be checked: {result.exception_info}")
    failed = tuple((str(one["id"]), _plain(one[check.column])) for one in result.result["unexpected_index_list"])
    name = str(result.expectation_config.type)
    return Outcome(suite, check, name, len(table), _observed(table[check.column]), failed)


def _plain(value: Any) -> Value:
    plain: Value = value.item() if hasattr(value, "item") else value
    return plain


def _observed(column: pd.Series[Any]) -> str:
    """The range of numbers, or how many different texts there are."""
    values = column.dropna()
    if values.empty:
        return "nothing"
    if pd.api.types.is_numeric_dtype(values):
        low, high = float(values.min()), float(values.max())
        return show(low) if low == high else f"{show(low)} to {show(high)}"
    different = sorted({str(v) for v in values})
    text = ", ".join(different)
    return text if len(different) <= 3 and len(text) <= 40 else f"{len(different)} different"
