"""The case's own scale: 20 for the product by its place, 20 for the message by the linter."""

import pandas as pd
import pytest

import nextbest
from nextbest.errors import DataError, UsageError


def score_of(run, tmp_path, place):
    d = run.decisions
    wanted = d[d["rank"] == place][["client_code", "product"]]
    path = tmp_path / "reference.csv"
    wanted.to_csv(path, index=False)
    return nextbest.score(run.folder, reference=path)


@pytest.mark.parametrize(("place", "points"), [(1, 20), (2, 15), (3, 10), (4, 5), (5, 0)])
def test_points_by_place(demo, tmp_path, place, points):
    assert score_of(demo, tmp_path, place).product == points


def test_a_product_that_does_not_exist_earns_nothing(demo, tmp_path):
    path = tmp_path / "reference.csv"
    pd.DataFrame({"client_code": [1, 999], "product": ["Нет такого", "Инвестиции"]}).to_csv(path, index=False)
    result = nextbest.score(demo.folder, reference=path)
    assert (result.customers, result.product, result.message) == (2, 0, 10)


def test_what_is_missing_is_said(demo, tmp_path):
    with pytest.raises(UsageError):
        nextbest.score(demo.folder, reference=tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_text("a\n1\n")
    with pytest.raises(DataError):
        nextbest.score(demo.folder, reference=tmp_path / "odd.csv")
