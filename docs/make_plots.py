"""The plots of docs/explanation/how-good.md, drawn from its own tables: `python docs/make_plots.py`."""

import re
from pathlib import Path

from matplotlib import pyplot as plt

PAGE = Path(__file__).parent / "explanation" / "how-good.md"
LINES = {"upsell": ("0.948", "the law itself"), "uplift": ("0.066", "public reference"), "open-bandit": ("0.0069", "its own log")}
"""Plot → what stands beside it as a line: a value, and what it is."""
INK, LINE = "#3b6ea5", "#b5542d"
NUMBER = re.compile(r"\*{0,2}(-?\d+\.\d+)\*{0,2}(?:\s*\((-?\d+\.\d+)–(-?\d+\.\d+)\))?")


def tables(text: str) -> dict[str, tuple[str, list[tuple[str, float, float, float]]]]:
    """Plot → the header of its column, and for each row its name, value, low and high. A plot stands under its table."""
    found = {}
    for rows, name in re.findall(r"((?:^\|.*\n)+)\n!\[[^\]]*\]\(how-good-([\w-]+)\.svg\)", text, re.M):
        lines = [[cell.strip() for cell in row.strip("|\n ").split("|")] for row in rows.splitlines()]
        header, body = lines[0], lines[2:]
        column = next(place for place in range(1, len(header)) if all(NUMBER.match(row[place]) for row in body))
        values = [(row[0], *_numbers(row[column])) for row in body]
        found[name] = (header[column], values)
    return found


def _numbers(cell: str) -> tuple[float, float, float]:
    value, low, high = NUMBER.match(cell).groups()  # type: ignore[union-attr]
    return float(value), float(low or value), float(high or value)


def draw(name: str, title: str, rows: list[tuple[str, float, float, float]]) -> None:
    """A dot for each row, its interval as a bar."""
    plt.switch_backend("svg")
    plt.rcParams.update({"svg.hashsalt": "nextbest", "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.32 * len(rows)))
    for place, (_, value, low, high) in enumerate(reversed(rows)):
        axes.plot([low, high], [place, place], color=INK, linewidth=3, alpha=0.45, solid_capstyle="round")
        axes.plot(value, place, "o", color=INK)
    if name in LINES:
        at, what = LINES[name]
        axes.axvline(float(at), color=LINE, linewidth=1, linestyle="--")
        axes.text(float(at), len(rows) - 0.45, what, color=LINE, fontsize=9, ha="center", va="bottom")
    axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.savefig(PAGE.with_name(f"how-good-{name}.svg"), bbox_inches="tight", metadata={"Date": None, "Creator": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    for plot, (column, values) in tables(PAGE.read_text(encoding="utf-8")).items():
        draw(plot, column, values)
