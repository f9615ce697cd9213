"""What the dashboards are made of. A query is an expression and the legend of its series."""

from __future__ import annotations

import string
from typing import Self

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries, trend
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")  # the uid in provisioning/datasources
WIDTH = 24  # columns of a page
Query = tuple[str, str]
Panel = stat.Panel | timeseries.Panel | bargauge.Panel | trend.Panel
Steps = tuple[tuple[float, str], ...]
GOOD_IF_ONE: Steps = ((0, "red"), (1, "green"))
BAD_IF_MORE: Steps = ((0, "green"), (1, "red"))


class Board:
    """A dashboard: rows of panels, each line of them as wide as the page."""

    def __init__(self, title: str, uid: str, text: str, since: str = "now-6h") -> None:
        self._rows: list[tuple[str, list[Panel]]] = []
        self._made = (
            dashboard.Dashboard(title)
            .uid(uid)
            .description(text)
            .tags(["snn-fusion"])
            .readonly()
            .refresh("30s")
            .time(since, "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
        )

    def row(self, title: str) -> Self:
        self._rows.append((title, []))
        return self

    def panel(self, panel: Panel) -> Self:
        """Put it at the end of the last row."""
        self._rows[-1][1].append(panel)
        return self

    def build(self) -> Dashboard:
        for title, panels in self._rows:
            self._made.with_row(dashboard.Row(title))
            for line in _lines(panels):
                for i, one in enumerate(line):
                    self._made.with_panel(one.span(WIDTH * (i + 1) // len(line) - WIDTH * i // len(line)))
        return self._made.build()


def _lines(panels: list[Panel]) -> list[list[Panel]]:
    """Panels of one height beside each other, until the page is full."""
    lines: list[list[Panel]] = []
    left = height = 0
    for one in panels:
        at = one.build().grid_pos
        if at.h != height or at.w > left:
            lines.append([])
            left, height = WIDTH, at.h
        lines[-1].append(one)
        left -= at.w
    return lines


def number(
    title: str, expr: str, unit: str, steps: Steps = ((0, "text"),), text: str = "", decimals: int | None = None
) -> stat.Panel:
    """One number as it is now, in the colour of the last step that it reaches."""
    panel = (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(4)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .with_target(_query("A", expr, "").instant())
    )
    return panel if decimals is None else panel.decimals(decimals)


def series(
    title: str, unit: str, *queries: Query, text: str = "", stacked: bool = False, top: float | None = None
) -> timeseries.Panel:
    """Lines over time. `top`: the end of the axis, for shares."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(8)
        .min(0)
        .draw_style(GraphDrawStyle.LINE)
        .fill_opacity(20 if stacked else 0)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if top is not None:
        panel = panel.max(top)
    for name, (expr, legend) in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_query(name, expr, legend).range())
    return panel


def bars(title: str, unit: str, query: Query, text: str = "") -> bargauge.Panel:
    """What is now, a bar each."""
    expr, legend = query
    return (
        bargauge.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(8)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(((0, "blue"),)))
        .with_target(_query("A", expr, legend).instant())
    )


def curve(title: str, unit: str, expr: str, x: str, column: str, text: str = "") -> trend.Panel:
    """Values over the label `x`, a number, instead of over time; a line for each value of the label `column`."""
    axis = f"{x}\\{column}"  # what the transformation calls its first column
    matrix = {"rowField": x, "columnField": column, "valueField": "Value"}
    numbers = {"conversions": [{"targetField": axis, "destinationType": "number"}]}
    return (
        trend.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(8)
        .x_field(axis)
        .with_target(_query("A", expr, "").instant().format(PromQueryFormat.TABLE))
        .with_transformation(DataTransformerConfig("groupingToMatrix", options=matrix))
        .with_transformation(DataTransformerConfig("convertFieldType", options=numbers))
        .with_transformation(DataTransformerConfig("sortBy", options={"sort": [{"field": axis}]}))
    )


def _query(name: str, expr: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).expr(" ".join(expr.split())).legend_format(legend)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    (_, first), *more = steps
    made = [Threshold(None, first), *(Threshold(value, colour) for value, colour in more)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)
