"""Charts: bars whose words follow the page's colours, light or dark, because they are drawn as SVG."""

from collections.abc import Sequence

from nicegui import ui

from nextbest.web.console.here import Here

_MAIN = "#3f7fd0"
_FONT = 'system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif'


def lying_bars(here: Here, title: str, labels: Sequence[str], values: Sequence[float]) -> None:
    """Horizontal bars, the first on top."""
    labels, values = list(reversed(labels)), list(reversed(values))
    _drawn(
        title,
        {
            "grid": {"left": 20, "right": 62, "top": 8, "bottom": 8, "containLabel": True},
            "xAxis": {"type": "value", "splitLine": {"show": False}, "axisLabel": {"show": False}},
            "yAxis": {"type": "category", "data": labels, "axisTick": {"show": False}, "axisLabel": {"width": 185, "overflow": "truncate"}},
            "series": [_series(here, values, "right")],
        },
        rows=len(labels),
    )


def standing_bars(here: Here, title: str, labels: Sequence[str], values: Sequence[float]) -> None:
    """Vertical bars, from left to right."""
    _drawn(
        title,
        {
            "grid": {"left": 8, "right": 8, "top": 24, "bottom": 8, "containLabel": True},
            "xAxis": {"type": "category", "data": list(labels), "axisTick": {"show": False}},
            "yAxis": {"type": "value", "splitLine": {"show": False}, "axisLabel": {"show": False}},
            "series": [_series(here, values, "top")],
        },
    )


def _series(here: Here, values: Sequence[float], place: str) -> dict[str, object]:
    data = [{"value": round(value), "label": {"show": True, "position": place, "formatter": here.number(value)}} for value in values]
    return {"type": "bar", "data": data, "itemStyle": {"color": _MAIN}, "barMaxWidth": 26}


def _drawn(title: str, options: dict[str, object], rows: int = 6) -> None:
    chart = ui.echart({"animation": False, "textStyle": {"fontFamily": _FONT}, **options}, renderer="svg").classes("nb-chart")
    chart.style(f"height: {max(6, 2 * min(rows, 15) + 1)}rem").props("role=img")
    chart.props["aria-label"] = title
