"""Groups of customers: how they differ, where something is concentrated, and that noise is not told as a find."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from nextbest.measure import segments


def people(rows=1000, seed=0):
    chance = np.random.default_rng(seed)
    return pd.DataFrame({"age": chance.normal(45, 10, rows), "visits": chance.poisson(4, rows), "city": chance.choice(["a", "b"], rows)})


def test_a_difference_is_that_of_welch():
    frame = people()
    inside = np.arange(1000) < 400
    frame.loc[inside, "age"] += 5
    found = {(item.feature, item.value): item for item in segments.profile(frame, inside)}
    age = found["age", None]
    told = ttest_ind(frame.age[inside], frame.age[~inside], equal_var=False)
    assert (age.low, age.high) == pytest.approx(tuple(told.confidence_interval(0.95)))
    assert age.p == pytest.approx(4 * told.pvalue) and age.low < 5 < age.high  # Holm: the smallest of four
    assert next(iter(segments.profile(frame, inside))).feature == "age"


def test_false_alarms_of_a_profile_are_rare():
    """Twenty features that differ in nothing: in 100 redraws few profiles tell anything (5% by Holm)."""
    alarms = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        frame = pd.DataFrame(chance.normal(size=(300, 20))).rename(columns=str)
        alarms += any(item.beyond_chance for item in segments.profile(frame, chance.random(300) < 0.3))
    assert alarms <= 12


def test_what_is_alike_or_unknown_is_left_out():
    frame = pd.DataFrame({"same": 1.0, "nearly": 0.1 + np.arange(10) * 1e-16, "empty": np.nan, "number": np.arange(10.0)})
    assert frame.nearly.nunique() > 1
    assert [item.feature for item in segments.profile(frame, np.arange(10) < 5)] == ["number"]


def test_a_rule_is_found_where_it_is_and_measured_on_others():
    frame = people(4000)
    stake = np.where((frame.age > 50) & (frame.city == "b"), 100.0, 10.0) + np.random.default_rng(1).normal(0, 20, 4000)
    found = [item for item in segments.rules(frame, stake, 30, 0) if item.mean.value > 80]
    assert all({("age", ">"), ("city", "=")} & {(part.feature, part.sign) for part in item.conditions} for item in found)
    assert sum(item.share for item in found) == pytest.approx(((frame.age > 50) & (frame.city == "b")).mean(), abs=0.03)
    assert found[0].mean.low < 100 < found[0].mean.high + 5


def test_noise_is_seldom_told_as_a_find():
    """A tree always finds leaves that look good on its own half; on the other half they do not."""
    told = sum(len(segments.rules(people(600, seed), np.random.default_rng(seed + 500).normal(size=600), 30, seed)) for seed in range(60))
    assert told <= 14  # of some 400 leaves, 2.5% would look so by chance


def test_what_is_unknown_fulfils_no_condition():
    frame = people(2000)
    frame.loc[::2, "age"] = np.nan
    stake = np.where(frame.age > 45, 50.0, 0.0) + np.random.default_rng(2).normal(0, 5, 2000)
    first = segments.rules(frame, stake, 30, 0)[0]
    assert first.mean.value == pytest.approx(50, abs=5) and first.share < 0.3


def test_overlap_is_shared_customers_among_those_of_either():
    members = pd.DataFrame({"a": [True, True, False, False], "b": [True, False, True, False], "none": [False] * 4})
    found = segments.overlap(members)
    assert found.loc["a", "b"] == pytest.approx(1 / 3) and found.loc["a", "a"] == 1 and found.loc["none", "a"] == 0


def test_clusters_that_are_there_are_stable_and_those_of_one_cloud_are_not():
    chance = np.random.default_rng(0)
    apart = pd.DataFrame(np.vstack([chance.normal(place, 0.3, (150, 3)) for place in (0, 4, 8)])).rename(columns=str)
    found = segments.clusters(apart, 0)
    assert found.real and len(found.centres) == 3
    assert segments.clusters(apart.head(20), 0) is None
    cloud = segments.clusters(pd.DataFrame(chance.normal(size=(450, 6))).rename(columns=str), 0)
    assert cloud is None or not cloud.real


def test_one_customer_far_away_is_no_cluster():
    frame = people(3000).drop(columns="city")
    frame.loc[7, "visits"] = 1e6
    found = segments.clusters(frame, 0)
    assert found is None or np.bincount(found.labels).min() > 100


def test_customers_of_whom_the_stake_is_unknown_are_not_taken_for_safe():
    frame = people(2000)
    stake = np.where(np.arange(2000) % 4 == 0, np.where(frame.age > 45, 50.0, 10.0), np.nan)
    found = segments.rules(frame, stake, 30, 0)
    assert found and found[0].mean.value == pytest.approx(50)
    assert segments.rules(frame[[]], stake, 30, 0) == []
