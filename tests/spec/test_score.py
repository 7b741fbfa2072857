"""The case's own scale: 20 for the product by its place, 20 for the message by the linter."""

import gzip

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


def test_what_the_run_does_not_know_is_told(demo, tmp_path):
    """Another program's code page, delimiter and spaces are no fault; a code or product that is nobody's is told."""
    path = tmp_path / "reference.csv"
    decisions = demo.decisions
    first = decisions[(decisions.client_code == 1) & (decisions["rank"] == 1)]["product"].item().replace(" ", "  ")
    path.write_bytes(f"client_code;product\n1;{first}\n001;Инвестиции\n2;Нет такого\n".encode("cp1251"))
    result = nextbest.score(demo.folder, reference=path)
    assert (result.customers, result.unknown_customers, result.unknown_products) == (3, 1, ("Нет такого",))
    assert result.per_customer.set_index("client_code").loc["1", "product"] == 20


def test_a_reference_may_be_packed_begin_with_blank_lines_and_name_offers_in_any_language(demo, tmp_path):
    decisions = demo.decisions
    [offer] = decisions[(decisions.client_code == 1) & (decisions["rank"] == 1)].offer
    name = demo.book.model.offers[offer].name["en"]
    path = tmp_path / "reference.csv.gz"
    path.write_bytes(gzip.compress(f"\n\nclient_code,product,,\n1,{name},,\n".encode()))
    assert nextbest.score(demo.folder, reference=path).product == 20


def test_what_is_missing_is_said(demo, tmp_path):
    (tmp_path / "twice.csv").write_text("client_code,product,product\n1,a,b\n")
    with pytest.raises(DataError, match="once each"):
        nextbest.score(demo.folder, reference=tmp_path / "twice.csv")
    with pytest.raises(UsageError):
        nextbest.score(demo.folder, reference=tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_text("a\n1\n")
    with pytest.raises(DataError):
        nextbest.score(demo.folder, reference=tmp_path / "odd.csv")
