"""Looking into a model of activity: a law of one feature is found as such, and a page shows it."""

import sys

import numpy as np
import pandas as pd
import pytest

from nextbest.models.activity import Model, Table
from nextbest.models.inspection import LABEL, association, dependence, inspect
from nextbest.report.activity import write_page
from nextbest.services.judging import judge
from nextbest.services.progress import silent

LINEAR = {"linear": [{"C": 1.0}]}
HOSTILE = "<script>alert(1)</script>"


def table(rows=300, seed=0):
    """Only `a` decides; `b`, unknown of some, and the word `c` are noise."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": chance.normal(size=rows), "b": chance.normal(size=rows), "c": chance.choice([HOSTILE, "y", ""], rows)})
    frame.loc[:5, "b"] = np.nan
    falls = (chance.random(rows) < 1 / (1 + np.exp(-2 * frame.a))).to_numpy(float)
    return Table(frame, ("a", "b"), ("c",), falls)


@pytest.fixture(scope="module")
def looked():
    found = table()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nextbest.models.activity.FAMILIES", LINEAR)
        judged = judge(found, 0.5, repeats=1, hold_outs=0, seed=0, progress=silent)
        model = Model.fitted(found, 0)
    return model, found, judged, inspect(model, found, judged.lost, 0)


def card(judged):
    figures = judged.figures() | {"threshold": 0.5, "features_as_of": "2025-07-31"}
    said = {"as_of": "2025-08-31", "rows": 300, "taken": 150, "model": "linear", "seed": 0, "version": "0", "cautions": ["mind <this>"]}
    return said | {"figures": figures}


def test_what_decides_is_what_it_leans_on(looked):
    *_, judged, seen = looked
    assert judged.lost.shape == (5, 3)
    first, *rest = seen.importance.itertuples()
    assert first.feature == "a" and first.mean > 0.2 and all(abs(item.mean) < 0.05 for item in rest)


def test_each_customers_parts_stand_with_the_place_of_their_value(looked):
    model, *_, seen = looked
    own = seen.shapley[seen.shapley.feature == "a"]
    assert next(iter(dict.fromkeys(seen.shapley.feature))) == "a" and len(own) == len(model.background)
    assert np.corrcoef(own.part, own["at"])[0, 1] > 0.9
    assert seen.shapley[seen.shapley.feature == "c"]["at"].isna().all()


def test_the_forecast_runs_up_over_what_speaks_of_a_fall_and_is_flat_elsewhere(looked):
    *_, seen = looked
    by_feature = {name: own for name, own in seen.dependence.groupby("feature")}
    assert by_feature["a"]["mean"].is_monotonic_increasing and np.ptp(by_feature["a"]["mean"]) > 0.5
    assert np.ptp(by_feature["b"]["mean"]) < 0.2 and set(by_feature["c"]["at"]) == {"", "y", HOSTILE}
    assert ((seen.dependence.low <= seen.dependence["mean"]) & (seen.dependence["mean"] <= seen.dependence.high)).all()


def test_the_curve_shows_growing_parts_of_the_customers(looked):
    *_, seen = looked
    assert list(seen.curve.customers) == [50, 100, 150, 200]
    assert (seen.curve.judged.iloc[-1] > 0.75) and (seen.curve.learned >= seen.curve.judged - 0.05).all()


def test_phik_sets_what_decides_beside_the_fall(looked):
    *_, seen = looked
    pytest.importorskip("phik")
    assert seen.association.index[0] == LABEL and seen.association.loc[LABEL, "a"] > 0.6 > seen.association.loc[LABEL, ["b", "c"]].max()


def test_phik_is_the_same_for_money_that_few_have_much_of():
    chance = np.random.default_rng(0)
    amount = chance.normal(size=400)
    falls = (chance.random(400) < 1 / (1 + np.exp(-2 * amount))).astype(float)
    found = association(Table(pd.DataFrame({"a": amount, "b": np.exp(2 * amount) * 10_000}), ("a", "b"), (), falls), ["a", "b"])
    assert found.loc[LABEL, "a"] == pytest.approx(found.loc[LABEL, "b"], abs=0.05) and found.loc[LABEL, "a"] > 0.6


def test_what_is_unknown_constant_or_perfect_is_shown_as_such(tmp_path):
    """A label that one feature gives away, one feature that nobody has, one that is the same for all, two never known together."""
    found = table(200)
    frame = found.frame.assign(none=np.nan, same=1.0, odd=np.where(found.frame.index % 2, found.frame.b, np.nan))
    frame["even"] = np.where(found.frame.index % 2, np.nan, found.frame.b)
    perfect = Table(frame, ("a", "none", "same", "odd", "even"), ("c",), (frame.a > 0).to_numpy(float))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nextbest.models.activity.FAMILIES", LINEAR)
        judged = judge(perfect, 0.5, repeats=1, hold_outs=0, seed=0, progress=silent)
        seen = inspect(Model.fitted(perfect, 0), perfect, judged.lost, 0)
    write_page("A shop", card(judged), seen, str, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "nan" not in page and "Partial dependence: same" not in page and "Partial dependence: none" not in page
    assert "Partial dependence: a" in page and '<td class="cell">–</td>' in page


def test_words_that_few_customers_have_are_not_drawn(looked):
    model, found, *_ = looked
    rare = Table(found.frame.assign(c=["12 High Street", *found.frame.c[1:]]), found.numbers, found.words, found.falls)
    assert set(dependence(model, rare, "c")["at"]) == {"", "y", HOSTILE}


def test_the_page_stands_alone_and_shows_hostile_words_harmlessly(looked, tmp_path, monkeypatch):
    model, found, judged, _ = looked
    monkeypatch.setitem(sys.modules, "phik", None)
    seen = inspect(model, found, judged.lost, 0)
    write_page("A shop", card(judged), seen, lambda name: f"<{name}>", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;a&gt;" in page and "mind &lt;this&gt;" in page
    assert "http" not in page and "nextbest[learn]" in page
    assert page.count('aria-label="Partial dependence') == 3
