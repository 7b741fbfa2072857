"""Charts: bars whose words follow the page's colours, light or dark, because they are drawn as SVG."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nicegui import ui

from nextbest.web.console.frame import element
from nextbest.web.console.here import Here

_MAIN = "#3f7fd0"
_FONT = 'system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif'


class Bars(NamedTuple):
    """What ECharts is to draw, and how high, in rem."""

    options: dict[str, Any]
    height: int


def lying_bars(here: Here, labels: Sequence[str], values: Sequence[float]) -> Bars:
    """Horizontal bars, the first on top."""
    labels, values = list(reversed(labels)), list(reversed(values))
    options = {
        "grid": {"left": 32, "right": 62, "top": 8, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "value", "splitLine": {"show": False}, "axisLabel": {"show": False}},
        "yAxis": {"type": "category", "data": labels, "axisTick": {"show": False}, "axisLabel": {"width": 185, "overflow": "truncate"}},
        "series": [_series(here, values, "right")],
    }
    return Bars(options, max(6, 2 * min(len(labels), 15) + 1))


def standing_bars(here: Here, labels: Sequence[str], values: Sequence[float]) -> Bars:
    """Vertical bars, from left to right."""
    options = {
        "grid": {"left": 8, "right": 8, "top": 24, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "category", "data": list(labels), "axisTick": {"show": False}},
        "yAxis": {"type": "value", "splitLine": {"show": False}, "axisLabel": {"show": False}},
        "series": [_series(here, values, "top")],
    }
    return Bars(options, 13)


def _series(here: Here, values: Sequence[float], place: str) -> dict[str, object]:
    data = [{"value": round(value), "label": {"show": True, "position": place, "formatter": here.number(value)}} for value in values]
    return {"type": "bar", "data": data, "itemStyle": {"color": _MAIN}, "barMaxWidth": 26}


def drawn(title: str, bars: Bars) -> ui.echart:
    """A chart below its title."""
    element("h2", title)
    chart = ui.echart({"animation": False, "textStyle": {"fontFamily": _FONT}}, renderer="svg").classes("nb-chart").props("role=img")
    chart.props["aria-label"] = title
    redraw(chart, bars)
    return chart


def redraw(chart: ui.echart, bars: Bars) -> None:
    """Other bars in a chart that stays: one taken off the page before the browser has drawn it is an error there."""
    chart.style(f"height: {bars.height}rem").options.update(bars.options)
