"""Imports run one way, the pure parts stay pure, and every place that may be extended is documented."""

import ast
import inspect
from pathlib import Path

import pytest

import nextbest
from nextbest.playbook import learning, model, sources
from nextbest.rules.functions import FUNCTIONS

ROOT = Path(nextbest.__file__).parent
LAYERS = [
    {"errors", "settings", "words", "arrays"},
    {"rules", "measure"},
    {"playbook"},
    {"models"},
    {"intake", "run"},
    {"plan"},
    {"messages", "engines", "channels"},
    {"store"},
    {"report.html", "report.numbers", "report.diff", "report.activity"},
    {"services"},
    {"report.console", "report.learning", "report.measuring", "report.segments", "web"},
    {"cli", "__init__", "__main__"},
]
PURE = ("rules", "playbook", "plan", "messages")
IMPURE = {"duckdb", "random", "time", "socket", "subprocess", "requests", "urllib", "numpy", "pandas", "secrets"}
FILES = sorted(path for path in ROOT.rglob("*.py"))


def layer(module: str) -> int:
    for place, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return place
    raise AssertionError(f"{module} has no layer: name it in LAYERS")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if own in ("report", "__init__"):
        return
    for name in imported(path):
        if name.startswith("nextbest.") and (ROOT / Path(*name.split(".")[1:])).with_suffix(".py").exists():
            assert layer(name.removeprefix("nextbest.")) <= layer(own), f"{own} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if p.relative_to(ROOT).parts[0] in PURE], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pure_parts_know_no_engine_clock_network_or_chance(path):
    assert not {name.split(".")[0] for name in imported(path)} & IMPURE
    assert "today()" not in path.read_text() and "now()" not in path.read_text()


def test_every_file_reads_in_one_sitting():
    long = {str(path.relative_to(ROOT)): n for path in FILES if (n := path.read_text().count("\n")) > 350}
    assert long == {}


def test_every_function_of_the_rule_language_is_in_the_docs():
    page = (ROOT.parents[1] / "docs" / "reference" / "rules.md").read_text()
    for name, function in FUNCTIONS.items():
        assert f"`{name}(" in page and function.meaning in page


def test_every_entry_of_a_playbook_is_in_the_docs():
    page = (ROOT.parents[1] / "docs" / "reference" / "playbook.md").read_text()
    for module in (model, sources, learning):
        for _, kind in inspect.getmembers(module, lambda item: inspect.isclass(item) and issubclass(item, model.Strict)):
            for name, field in kind.model_fields.items():
                assert f"`{field.alias or name}`" in page, f"{kind.__name__}.{name}"


def test_no_case_data_is_in_the_project():
    names = {path.name for path in ROOT.parents[1].rglob("*.csv") if ".venv" not in str(path) and "demo" not in str(path)}
    assert not any(name.startswith("client_") for name in names)
