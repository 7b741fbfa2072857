"""The contract of every model: honest probabilities, the same from the same, whole again from its file, exact reasons."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from tests.learning.conftest import law

from nextbest.errors import UsageError
from nextbest.models.base import BUILT_IN, Pairs, known, log_odds, make
from nextbest.models.boosting import FEW
from nextbest.models.leaks import leaks
from nextbest.models.terms import Terms
from nextbest.services.answers import read_answers

TREES = importlib.util.find_spec("lightgbm") is not None
MODELS = [
    pytest.param(name, marks=pytest.mark.skipif(name in ("boosting", "ranker", "blend") and not TREES, reason="needs nextbest[learn]"))
    for name in BUILT_IN
]

BOTH = pytest.mark.parametrize(
    "name", ["logistic", pytest.param("boosting", marks=pytest.mark.skipif(not TREES, reason="needs nextbest[learn]"))]
)


@pytest.fixture(scope="module")
def tables(bank):
    with read_answers(bank, "upsell") as answers:
        learned = answers.answered()
        asked = Pairs(*(lambda batch: (batch.frame, batch.numbers, batch.words))(next(iter(answers.open()))))
    return learned, asked


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_lie_between_0_and_1_and_average_to_what_was_taken(name, tables):
    learned, asked = tables
    model = make(name)
    model.fit(learned, 0)
    found = model.propensity(asked)
    assert found.shape == (len(asked),) and (found > 0).all() and (found < 1).all()
    assert abs(model.propensity(learned).mean() - learned.taken.mean()) < 0.03


@pytest.mark.parametrize("name", MODELS)
def test_the_same_answers_make_the_same_model(name, tables):
    learned, asked = tables
    first, second = make(name), make(name)
    first.fit(learned, 7)
    second.fit(learned, 7)
    assert json.dumps(first.state()) == json.dumps(second.state())
    assert (first.propensity(asked) == second.propensity(asked)).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole_again_from_its_file(name, tables):
    learned, asked = tables
    model, again = make(name), make(name)
    model.fit(learned, 0)
    again.restore(json.loads(json.dumps(model.state())))
    assert (again.propensity(asked) == model.propensity(asked)).all()


@pytest.mark.parametrize("name", MODELS)
def test_reasons_add_up_to_the_log_odds(name, tables):
    learned, asked = tables
    model = make(name)
    model.fit(learned, 0)
    parts = model.contributions(asked)
    if parts is not None:
        np.testing.assert_allclose(sum(parts.values()), log_odds(model.propensity(asked)), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_codes_of_customers_say_nothing(name, tables):
    """With other codes, order kept, the same scores: they only tell rows apart."""
    learned, asked = tables
    model, other = make(name), make(name)
    model.fit(learned, 0)
    other.fit(Pairs(learned.frame.assign(customer=learned.frame.customer + 5000), learned.numbers, learned.words), 0)
    moved = Pairs(asked.frame.assign(customer=asked.frame.customer + 5000), asked.numbers, asked.words)
    np.testing.assert_allclose(other.propensity(moved), model.propensity(asked))


@pytest.mark.parametrize("name", MODELS)
def test_a_product_that_nobody_was_asked_about_gets_a_cautious_score(name, tables):
    learned, asked = tables
    model = make(name)
    model.fit(learned.where(learned.frame["product"].to_numpy() != 3), 0)
    found = model.propensity(asked.where(asked.frame["product"].to_numpy() == 3))
    assert np.isfinite(found).all() and abs(np.median(found) - learned.taken.mean()) < 0.2


@BOTH
def test_the_law_is_found(name, tables):
    learned, asked = tables
    model = make(name)
    model.fit(learned, 0)
    truth = law(asked.column("income"), asked.frame["product"].to_numpy())
    assert np.corrcoef(log_odds(model.propensity(asked)), log_odds(truth))[0, 1] > 0.85
    assert abs(model.propensity(asked) - truth).mean() < 0.06


def by_chance(customers=60, products=30, seed=0):
    """Baskets and answers that have nothing to do with one another, in two rounds."""
    chance = np.random.default_rng(seed)
    held = chance.random((customers, products)) < 0.1
    rows = pd.DataFrame([(who, what) for who, what in np.argwhere(~held)], columns=["customer", "product"])
    rows = pd.concat([rows.assign(round=turn, taken=(chance.random(len(rows)) < 0.1).astype(int)) for turn in (0, 1)], ignore_index=True)
    taken = rows[(rows["round"] == 0) & (rows.taken == 1)].groupby("customer")["product"].agg(list).to_dict()
    before = [[] if turn == 0 else taken.get(who, []) for who, turn in zip(rows.customer, rows["round"], strict=True)]
    rows["basket"] = [sorted({*np.flatnonzero(held[who]), *earlier}) for who, earlier in zip(rows.customer, before, strict=True)]
    return Pairs(rows, (), ())


@pytest.mark.parametrize("name", ["collaborative", "factors"])
def test_no_answer_speaks_for_itself(name):
    """Where answers are chance the similarity that is learned from them knows nothing of them; by one's own basket it would."""
    pairs, model = by_chance(), make(name)
    unseen = model.cross_fitted(pairs, 0)
    assert roc_auc_score(pairs.taken, unseen) == pytest.approx(0.5, abs=0.05)
    assert roc_auc_score(pairs.taken, model.similar(pairs)) > roc_auc_score(pairs.taken, unseen) + 0.04
    other = pairs.frame.assign(taken=np.where(pairs.frame.customer == 7, 1 - pairs.frame.taken, pairs.frame.taken))
    mine = (pairs.frame.customer == 7).to_numpy()
    assert np.array_equal(model.cross_fitted(replace(pairs, frame=other), 0)[mine], unseen[mine])


def test_what_goes_with_what_was_taken_is_learned_from_answers_alone():
    """Nobody holds anything; who takes 1 in the first round takes 2 in the second, and nobody else does."""
    likes = np.arange(400) % 2
    rows = pd.DataFrame({"customer": np.repeat(np.arange(400), 2), "product": np.tile([1, 2], 400), "round": np.tile([0, 1], 400)})
    rows["taken"] = likes[rows.customer]
    rows["basket"] = [[1] if turn and likes[who] else [] for who, turn in zip(rows.customer, rows["round"], strict=True)]
    model = make("collaborative")
    model.fit(Pairs(rows, (), ()), 0)
    asked = Pairs(pd.DataFrame({"customer": [1, 2], "product": 2, "basket": [[1], []]}), (), ())
    likely, unlikely = model.propensity(asked)
    assert likely > 0.7 > 0.5 > unlikely


@BOTH
def test_each_round_is_learned_from_with_what_was_known_then(name):
    """The same customers twice: those who spend little take little, and a round later, when they spend much, they take much."""
    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"customer": np.tile(np.arange(400), 2), "product": 1, "round": np.repeat([0, 1], 400)})
    rows = rows.assign(asked_before=0, taken_before=0, basket=[[]] * 800, x=rows["round"] + chance.normal(0, 0.1, 800))
    rows["taken"] = (chance.random(800) < np.where(rows["round"] == 0, 0.1, 0.8)).astype(int)
    model = make(name)
    model.fit(Pairs(rows, ("x",), ()), 0)
    asked = Pairs(rows.drop_duplicates("round").assign(x=[0.0, 1.0]), ("x",), ())
    assert model.propensity(asked)[0] < 0.3 and model.propensity(asked)[1] > 0.5


def test_who_follows_the_model_loses_little(tables):
    """Policy regret: what is taken less often than were the law itself followed. By popularity it is far more."""
    learned, asked = tables
    truth = pd.Series(law(asked.column("income"), asked.frame["product"].to_numpy()))
    regret = {}
    for name in ("logistic", "popularity"):
        model = make(name)
        model.fit(learned, 0)
        first = pd.Series(model.propensity(asked)).groupby(asked.frame.customer.to_numpy()).idxmax()
        regret[name] = (truth.groupby(asked.frame.customer.to_numpy()).max() - truth[first].to_numpy()).mean()
    assert regret["logistic"] < 0.02 < regret["popularity"]


def test_the_logistic_knows_how_far_it_may_be_off(tables):
    learned, asked = tables
    model, again, less = make("logistic"), make("logistic"), make("logistic")
    model.fit(learned, 0)
    truth, error = law(asked.column("income"), asked.frame["product"].to_numpy()), model.error(asked)
    assert (abs(model.propensity(asked) - truth) < 2 * error).mean() > 0.8 and error.max() < 0.25
    again.restore(json.loads(json.dumps(model.state())))
    assert (again.error(asked) == error).all()
    less.fit(learned.where(learned.frame.customer.to_numpy() % 3 == 0), 0)
    assert np.median(less.error(asked)) > 1.2 * np.median(error)


@pytest.mark.skipif(not TREES, reason="needs nextbest[learn]")
def test_where_answers_are_plenty_and_say_the_same_many_large_trees_are_grown(tables):
    learned, _ = tables
    few = make("boosting")
    few.fit(learned, 0)
    assert few.trees.num_trees() == FEW["num_iterations"]
    chance = np.random.default_rng(0)
    frame = pd.DataFrame({"customer": range(6000), "product": 1, "round": 0, "asked_before": 0, "taken_before": 0})
    frame = frame.assign(x=chance.random(6000), y=chance.random(6000), basket=[[]] * 6000)
    frame["taken"] = ((np.floor(6 * frame.x) + np.floor(6 * frame.y)) % 2).astype(int)  # a chessboard
    plenty = Pairs(frame, ("x", "y"), ())
    many = make("boosting")
    many.fit(plenty.where(frame.customer.to_numpy() < 5000), 0)
    assert many.trees.num_trees() != FEW["num_iterations"]
    unseen = plenty.where(frame.customer.to_numpy() >= 5000)
    assert ((many.propensity(unseen) > 0.5) == unseen.taken).mean() > 0.9


def test_what_says_nothing_is_dropped(tables):
    learned, _ = tables
    model = make("logistic")
    model.fit(learned, 0)
    by_size = {group: float(np.abs(weights).max()) for group, weights in model.weights.items()}
    assert max(by_size, key=by_size.get) == "income × product"


def test_what_groups_add_is_what_their_columns_say(tables):
    """Scoring never makes the columns of crossed groups; products and words that were not learned add nothing."""
    learned, asked = tables
    terms = Terms.learned(learned)
    frame = asked.frame.assign(product=asked.frame["product"].astype(str).where(asked.frame.index % 7 > 0, "new"))
    word = next(iter(terms.words))
    strange = replace(asked, frame=frame.assign(**{word: frame[word].astype(object).where(frame.index % 5 > 0, "never heard of")}))
    chance = np.random.default_rng(0)
    columns = {group: terms.columns(strange, group) for group in [*terms.lines(), *terms.curves(list(terms.numbers))]}
    weights = {group: chance.normal(size=made.shape[1]) for group, made in columns.items()}
    for group, found in terms.sums(strange, weights).items():
        np.testing.assert_allclose(found, columns[group] @ weights[group], atol=1e-12, err_msg=group)


def test_an_unknown_model_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="logistic"):
        make("oracle")


def test_no_leak_in_the_bank(tables):
    assert leaks(tables[0]) == []


@pytest.mark.parametrize("plant", ["number", "gap", "word", "code"])
def test_a_planted_leak_is_found(tables, plant):
    learned, _ = tables
    chance, frame = np.random.default_rng(0), learned.frame
    numbers, words = learned.numbers, learned.words
    noisy = frame.taken + chance.normal(0, 0.3, len(frame))
    if plant == "number":
        frame, numbers = frame.assign(leak=noisy), (*numbers, "leak")
    elif plant == "gap":
        frame, numbers = frame.assign(leak=np.where(noisy > 0.5, chance.random(len(frame)), np.nan)), (*numbers, "leak")
    elif plant == "word":
        frame, words = frame.assign(leak=np.where(noisy > 0.5, "contract", "none")), (*words, "leak")
    else:
        frame, words = frame.assign(leak=frame.customer.astype(str)), (*words, "leak")
    assert [item.feature for item in leaks(Pairs(frame, numbers, words))] == ["leak"]


def test_a_model_of_another_package_is_found_by_its_name(monkeypatch, tmp_path, tables):
    """As an installed package tells of itself: a module, and its entry point."""
    (tmp_path / "coin.py").write_text(
        "import numpy as np\nclass Model:\n  def fit(self, pairs, seed): self.rate = float(pairs.taken.mean())\n"
        "  def propensity(self, pairs): return np.full(len(pairs), self.rate)\n"
    )
    info = tmp_path / "coin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nextbest.models]\ncoin = coin:Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert known()[-1] == "coin"
    model = make("coin")
    model.fit(tables[0], 0)
    assert (model.propensity(tables[1]) == tables[0].taken.mean()).all()
