"""Figures of a ranking, worked out by hand and held against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from nextbest.measure.gate import gate, thirds
from nextbest.measure.ranking import auc, by_customer, calibration_error, interval, log_loss, spread, weighted_interval

LIMITS = {"worse_at_most": 0.01, "worse_in_segment": 0.03, "miscalibrated_at_most": 0.05, "smallest_segment": 20}


def test_by_hand():
    """A takes the 2nd and 3rd of three, B takes nothing, C takes the first of two."""
    found = by_customer(list("AAABBCC"), np.array([3.0, 2, 1, 2, 1, 2, 1]), np.array([0.0, 1, 1, 0, 0, 1, 0]), k=2)
    best = 1 + 1 / np.log2(3)
    assert found.ndcg.tolist() == pytest.approx([1 / np.log2(3) / best, 0, 1])
    assert found["map"].tolist() == pytest.approx([0.5 / 2, 0, 1])
    assert found.recall.tolist() == pytest.approx([0.5, 0, 1])


def test_ndcg_is_that_of_scikit_learn():
    chance = np.random.default_rng(0)
    taken, score = (chance.random((50, 8)) < 0.3).astype(float), chance.random((50, 8))
    some = taken.sum(axis=1) > 0
    mine = by_customer(np.repeat(np.arange(50), 8), score.ravel(), taken.ravel(), k=5).ndcg.to_numpy()
    assert mine[some].mean() == pytest.approx(ndcg_score(taken[some], score[some], k=5))


def test_intervals_hold_the_truth_as_often_as_they_say():
    chance = np.random.default_rng(1)
    held = [(found := interval(chance.normal(0.3, 1, 80), 0)).low <= 0.3 <= found.high for _ in range(300)]
    assert 0.90 <= np.mean(held) <= 0.98


def test_weighted_figures_are_those_of_repeated_rows():
    chance = np.random.default_rng(2)
    taken, score = (chance.random(60) < 0.4).astype(float), chance.random(60)
    weights = chance.integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    assert auc(taken, score)(weights * 1.0) == pytest.approx(roc_auc_score(taken[rows], score[rows]))
    assert log_loss(taken, score)(weights * 1.0) == pytest.approx(log_loss(taken[rows], score[rows])(np.ones(len(rows))))
    found = weighted_interval(np.repeat(np.arange(20), 3), auc(taken, score), 0)
    assert found.low < found.value < found.high


def test_a_forecast_that_is_true_is_calibrated():
    chance = np.random.default_rng(3)
    probability = chance.uniform(0, 0.5, 20_000)
    taken = (chance.random(20_000) < probability).astype(float)
    assert calibration_error(taken, probability) < 0.012 < 0.09 < calibration_error(taken, probability + 0.1)


def test_one_product_for_everyone_is_not_diverse():
    same = spread(["a", "b"] * 10, np.repeat(np.arange(10), 2), np.tile([1.0, 0.0], 10), k=1, products=2)
    assert same == {"coverage": 0.5, "diversity": 0.0}
    mixed = spread(["a", "b"] * 10, np.repeat(np.arange(10), 2), np.tile([1.0, 0.0, 0.0, 1.0], 5), k=1, products=2)
    assert mixed == {"coverage": 1.0, "diversity": pytest.approx(1.0)}


def answers(people=400, seed=0):
    chance = np.random.default_rng(seed)
    customer, truth = np.repeat(np.arange(people), 5), chance.uniform(0.02, 0.6, people * 5)
    return customer, (chance.random(len(truth)) < truth).astype(float), truth, pd.Series(np.where(customer % 2, "odd", "even"))


def test_the_truth_passes_the_gate_and_noise_does_not():
    customer, taken, truth, segment = answers()
    flat = np.full(len(taken), taken.mean())
    assert gate(("truth", "flat"), customer, taken, truth, flat, {"parity": segment}, LIMITS, 3, 0).passes
    assert not gate(("flat", "truth"), customer, taken, flat, truth, {"parity": segment}, LIMITS, 3, 0).passes


def test_a_model_that_harms_one_segment_does_not_pass():
    customer, taken, truth, segment = answers()
    harmed = np.where(segment == "odd", 0.6 - truth, truth)
    found = gate(("new", "old"), customer, taken, harmed, truth, {"parity": segment}, {**LIMITS, "worse_at_most": 1}, 3, 0)
    assert [check.what for check in found.checks if not check.passes and "gain" in check.what] == ["parity odd: gain in NDCG@3"]


def test_a_model_that_promises_too_much_does_not_pass():
    customer, taken, truth, segment = answers()
    found = gate(("new", "old"), customer, taken, truth + 0.2, truth, {"parity": segment}, LIMITS, 3, 0)
    assert not found.passes and all(check.passes for check in found.checks if "gain" in check.what)


def test_a_true_forecast_passes_on_few_answers():
    """Noise alone makes ten bins differ: it is not held against the model."""
    passed = []
    for seed in range(30):
        customer, taken, truth, segment = answers(people=100, seed=seed)
        passed.append(gate(("a", "b"), customer, taken, truth, truth, {"parity": segment}, LIMITS, 3, 0).passes)
    assert np.mean(passed) > 0.9


def test_small_segments_are_not_judged():
    customer, taken, truth, _ = answers()
    few = pd.Series(np.where(customer < 10, "few", None))
    assert len(gate(("a", "b"), customer, taken, truth, truth, {"x": few}, LIMITS, 3, 0).checks) == 2


def test_numbers_are_cut_in_thirds_of_customers():
    values = pd.Series(np.arange(90.0))
    assert thirds(values, np.arange(90)).value_counts().tolist() == [30, 30, 30]
    assert thirds(pd.Series(["a", None]), [1, 2]).dropna().tolist() == ["a"]
