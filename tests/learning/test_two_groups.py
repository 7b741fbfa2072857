"""Two groups behind labels that are not to be trusted; worlds whose law is known."""

import numpy as np
import pytest
from scipy.stats import beta, gaussian_kde, norm
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from nextbest.models.two_groups import TwoGroups, _Density

NOISE, SHARE = 0.12, 0.35
PAGES, SLOPE = ((5, 1.5), (10, 2.0)), (3, -3)
PROMO, FAVOURITE = ((5, 3), (2, 5)), np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4]])
"""Of those whose fall shows, of all others."""


def world(rows=900, seed=0, noise=NOISE):
    """Of those who see few pages and wait for promotions all fall, of all others some, for reasons that do not show."""
    chance = np.random.default_rng(seed)
    shows = chance.random(rows) < SHARE
    pages, promo = ([np.where(shows, *two) for two in zip(*law, strict=True)] for law in (PAGES, PROMO))
    seen = chance.normal(*pages)
    minutes = chance.normal(60 + np.where(shows, *SLOPE) * (seen - pages[0]), 3)  # the groups differ in how the two go together
    favourite = np.where(shows, *(chance.choice(3, rows, p=own) for own in FAVOURITE))
    falls = shows | (chance.random(rows) < noise)
    return np.column_stack([seen, minutes, chance.beta(*promo), chance.random(rows) < 0.3, favourite]), falls.astype(float)


def law(rows, noise=NOISE):
    """How likely each falls, by the law of the world; and how likely each is one of those whose fall shows."""
    seen, minutes, promo, _, favourite = rows.T
    likely = [
        share
        * norm.pdf(seen, *pages)
        * norm.pdf(minutes, 60 + slope * (seen - pages[0]), 3)
        * beta.pdf(promo, *own)
        * words[favourite.astype(int)]
        for share, pages, slope, own, words in zip((SHARE, 1 - SHARE), PAGES, SLOPE, PROMO, FAVOURITE, strict=True)
    ]
    shows = likely[0] / (likely[0] + likely[1])
    return shows + (1 - shows) * noise, shows


def brier(probability, falls):
    return float(np.mean((probability - falls) ** 2))


def test_of_those_of_whom_nothing_shows_some_fall_nevertheless():
    found = TwoGroups(4).fit(*world())
    rows, falls = world(5000, seed=1)
    probability, (true, shows) = found.predict_proba(rows)[:, 1], law(rows)
    assert np.abs(probability - true).mean() < 0.04 and abs(probability.mean() - falls.mean()) < 0.02
    loyal = shows < 0.01
    assert abs(probability[loyal].mean() - NOISE) < 0.03 and probability[loyal].min() > 0.05  # nobody is certain to stay


def test_where_labels_are_noisy_on_one_side_it_beats_a_line_and_a_margin():
    rows, falls = world()
    fresh, fell = world(5000, seed=1)
    least, ours = brier(law(fresh)[0], fell), brier(TwoGroups(4).fit(rows, falls).predict_proba(fresh)[:, 1], fell)
    center, scale = rows.mean(axis=0), rows.std(axis=0)
    line = LogisticRegression().fit((rows - center) / scale, falls).predict_proba((fresh - center) / scale)[:, 1]
    margin = SVC(gamma="auto").fit((rows - center) / scale, falls).predict((fresh - center) / scale)
    assert least < ours < least + 0.006
    assert ours < brier(line, fell) - 0.01 and ours < brier(margin, fell) - 0.01


def test_where_nothing_is_noisy_it_is_as_certain_as_one_may_be():
    fresh, fell = world(5000, seed=1, noise=0.0)
    probability = TwoGroups(4).fit(*world(noise=0.0)).predict_proba(fresh)[:, 1]
    assert np.median(probability) < 0.02 and brier(probability, fell) < brier(law(fresh, 0.0)[0], fell) + 0.006


def test_where_labels_are_chance_it_says_how_often():
    chance = np.random.default_rng(0)
    rows, _ = world()
    falls = (chance.random(len(rows)) < 0.4).astype(float)
    probability = TwoGroups(4).fit(rows, falls).predict_proba(world(3000, seed=1)[0])[:, 1]
    assert probability.mean() == pytest.approx(0.4, abs=0.05)


def test_one_giant_changes_little_for_the_others():
    rows, falls = world()
    fresh = world(1000, seed=1)[0]
    giant = rows.copy()
    giant[0, 1] = 1e9
    before, after = (TwoGroups(4).fit(known, falls).predict_proba(fresh)[:, 1] for known in (rows, giant))
    assert np.abs(before - after).mean() < 0.005
    found = TwoGroups(4).fit(rows, falls)
    loyal = np.array([rows[falls == 0].mean(axis=0)] * 3)
    loyal[:, 0] = 14, 20, 1e6
    assert np.ptp(found.predict_proba(loyal)[:, 1]) < 0.15 and found.predict_proba(loyal)[:, 1].max() < 0.3


def test_a_word_that_was_never_seen_says_nothing():
    rows, falls = world()
    found = TwoGroups(4).fit(rows, falls)
    unknown = np.repeat(rows[:200], 4, axis=0)
    unknown[:, 4] = np.tile([0, 1, 2, -1], 200)
    most, _, least, said = found.predict_proba(unknown)[:, 1].reshape(200, 4).T
    assert least.mean() + 0.02 < said.mean() < most.mean() - 0.02


def test_the_codes_of_words_have_no_order():
    rows, falls = world()
    turned = rows.copy()
    turned[:, 4] = np.array([1, 0, 2])[rows[:, 4].astype(int)]
    np.testing.assert_allclose(*(TwoGroups(4).fit(known, falls).predict_proba(known) for known in (rows, turned)), atol=1e-6)


@pytest.mark.parametrize("columns, numbers", [([0, 1], 2), ([3, 4], 0), ([4], 0), ([0], 1)])
def test_numbers_alone_or_words_alone_will_do(columns, numbers):
    rows, falls = world()
    shows = law(rows)[1] > 0.5
    probability = TwoGroups(numbers).fit(rows[:, columns], falls).predict_proba(rows[:, columns])[:, 1]
    assert probability[shows].mean() > probability[~shows].mean()


def test_a_density_is_that_of_the_weighted_rows():
    """Against scipy's, which goes through every row for every point."""
    chance = np.random.default_rng(0)
    column, weights = chance.normal(size=400), chance.random(400)
    ours = _Density(column)
    width = np.sqrt(np.cov(column, aweights=weights))
    step = ours.grid[1] - ours.grid[0]
    found, plain = ours.of(weights), gaussian_kde(column, bw_method=ours.width / width, weights=weights)(ours.grid)
    np.testing.assert_allclose(found / found.sum() / step, plain / plain.sum() / step, atol=0.004)
