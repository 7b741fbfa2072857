"""A command loads what it needs and no more: `nextbest --help` must not take seconds."""

import subprocess
import sys

import pytest

import nextbest

HEAVY = {"alembic", "duckdb", "pandas", "pyarrow", "pydantic", "scipy", "sklearn", "sqlalchemy", "sqlglot"}


def loaded(module: str) -> set[str]:
    say = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout.split())


def test_help_loads_nothing_heavy():
    assert not loaded("nextbest.cli") & HEAVY


def test_deciding_without_a_workspace_or_a_model_loads_neither():
    assert not loaded("nextbest.services.decide") & {"alembic", "pandas", "scipy", "sklearn", "sqlalchemy"}


@pytest.mark.parametrize("name", nextbest.__all__)
def test_every_name_is_there_when_asked_for(name):
    assert callable(getattr(nextbest, name)) and name in dir(nextbest)


def test_what_is_not_there_is_told():
    with pytest.raises(AttributeError, match="nothing_such"):
        nextbest.nothing_such  # noqa: B018
