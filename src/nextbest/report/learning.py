"""What learning shows: the figures of models side by side, a gate's verdict, and a page with plots of calibration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from nextbest.measure.gate import Verdict
from nextbest.measure.ranking import Figure
from nextbest.report.html import environment
from nextbest.services.activity import Trained
from nextbest.services.evaluate import Evaluation
from nextbest.services.purchases import Trained as Purchases


def figure(value: Figure | float | None) -> str:
    """With its interval where there is one."""
    if value is None:
        return "–"
    return f"{value.value:.4f} ({value.low:.3f}–{value.high:.3f})" if isinstance(value, Figure) else f"{value:.4f}"


def evaluation(found: Evaluation) -> RenderableType:
    """One row per model, the best first."""
    title = f"{found.customers} customers, {found.pairs} pairs, {found.taken} taken; {found.split}"
    table = Table(title=title, title_justify="left")
    for name in ("model", f"NDCG@{found.k}", f"MAP@{found.k}", "AUC", "log-loss", "calibration", "of oracle"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=name in ("model", f"NDCG@{found.k}"))
    for item in found.models:
        share = "–" if item.share_of_oracle is None else f"{item.share_of_oracle:.3f}"
        sure = f"{item.ndcg.value:.3f} ±{(item.ndcg.high - item.ndcg.low) / 2:.3f}"
        rest = (item.map, item.auc, item.log_loss, item.calibration_error)
        table.add_row(item.model, sure, *(_short(value) for value in rest), share)
    for name, ndcg in (("law", found.law), ("oracle", found.oracle)):
        if ndcg is not None and found.oracle:
            table.add_row(name, f"{ndcg:.3f}", *["–"] * 4, f"{ndcg / found.oracle:.3f}")
    return table


def _short(value: Figure | float | None) -> str:
    return "–" if value is None else f"{value.value if isinstance(value, Figure) else value:.3f}"


def verdict(found: Verdict) -> RenderableType:
    """Each check of a gate."""
    table = Table(title=f"The gate: {found.challenger} against {found.champion}, {found.customers} customers", title_justify="left")
    for name in ("looked at", "figure", "limit", ""):
        table.add_column(name)
    for check in found.checks:
        table.add_row(check.what, figure(check.figure), check.limit, "✓" if check.passes else "✗ fails")
    return table


def activity(found: Trained) -> RenderableType:
    """The figures of nested cross-validation."""
    figures = found.card.figures
    rows = f"{found.card.rows} customers, {found.card.taken} of them fell"
    folds = f"{figures['families'].get(found.card.model, 0)} of {len(found.judged.folds)} folds"
    title = f"{rows}; chosen: {found.card.model}, as in {folds}; each figure on customers not seen"
    table = Table(title=title, title_justify="left")
    splits = figures.get("hold_outs")
    for name in ("figure", "mean", "sd over folds", *([f"over {splits['splits']} hold-outs"] if splits else [])):
        table.add_column(name)
    for name, label in (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC"), ("f1", f"F1 from {figures['threshold']:.2f}"), ("brier", "Brier")):
        held = [f"{splits[name]['mean']:.3f} ± {splits[name]['sd']:.3f}"] if splits else []
        table.add_row(label, f"{figures[name]['mean']:.3f}", f"{figures[name]['sd']:.3f}", *held)
    table.add_row("calibration error", f"{figures['calibration_error']:.3f}", "–")
    return table


def purchases(found: Purchases) -> RenderableType:
    """What the days kept back showed."""
    figures = found.card.figures
    title = f"{figures['customers']} customers; the last {figures['ahead']:.0f} days, which it did not see"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_row("purchases expected", f"{figures['expected']:.0f}")
    table.add_row("purchases that came", f"{figures['came']:.0f}")
    for name, label in (("mean_error", "mean error a customer"), ("mean_error_of_own_rate", "of the customer's own rate carried on")):
        item = figures[name]
        table.add_row(label, f"{item['value']:.3f} ({item['low']:.3f}–{item['high']:.3f})")
    table.add_row("rank correlation", f"{figures['rank_correlation']:.3f}")
    return table


def problems(found: list[dict[str, Any]]) -> Iterator[str]:
    """What was odd in the files, a line each."""
    for item in found:
        where = f"{item['table']}.{item['column']}" if item.get("column") else item["table"]
        yield f"{where}: {item['rows']} rows {item['problem']}, {'kept' if item['kept'] else 'left out'}: {item['advice']}"


def write_report(found: Evaluation, path: Path) -> None:
    """One self-contained page: the table, and a plot of calibration for every model that has one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = environment().get_template("learning.html.j2").render(found=found, figure=figure)
    path.write_text(page, encoding="utf-8")
