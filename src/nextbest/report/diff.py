"""diff.html: one self-contained page of what a change of playbook does."""

from pathlib import Path
from typing import Any

from nextbest.report.html import environment
from nextbest.report.numbers import number, signed


def write_diff(found: Any, path: Path) -> None:
    """Write the page of a Diff."""
    page = environment().get_template("diff.html.j2").render(diff=found, number=number, signed=signed)
    path.write_text(page, encoding="utf-8")
