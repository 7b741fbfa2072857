"""How good is it, really: every figure of docs/explanation/how-good.md, from the shared cases, seeded, one command.

python bench/learning.py [upsell] [zimnat] [bank-marketing] [hillstrom] [open-bandit] [experiments] [shop] [speed]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from nextbest.measure.experiments import Arm, read
from nextbest.measure.offpolicy import doubly_robust, ipw, overlap, snipw
from nextbest.measure.ranking import auc, by_customer, interval, weighted_interval
from nextbest.models.activity import Model as Activity
from nextbest.models.activity import Table
from nextbest.models.base import Pairs, make
from nextbest.services.activity import train_activity
from nextbest.services.rank import rank
from nextbest.services.uplift import uplift

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
SEED = 0


def upsell() -> None:
    """NDCG@5 and MAP@5 as a share of the oracle's, AUC; campaigns that no model saw. Mean of the worlds, sd between them."""
    rows = []
    with tempfile.TemporaryDirectory() as temp:
        for world in sorted((CASES / "upsell").glob("world-*")):
            labels = pd.read_csv(world / "evaluation.csv").merge(pd.read_parquet(world / "truth.parquet"))
            best = by_customer(labels.customer_id, labels.true_score.to_numpy(), labels.label.to_numpy(float), 5).mean()
            for model in ("heuristic", "collaborative", "popularity", "ranker", "boosting", "logistic", "blend"):
                scores = pd.read_parquet(rank(world, out=Path(temp) / "s.parquet", model=model, seed=SEED).path)
                judged = labels.merge(scores)
                mine = by_customer(judged.customer_id, judged.score.to_numpy(), judged.label.to_numpy(float), 5).mean()
                share = {"NDCG@5": mine["ndcg"], "of oracle": mine["ndcg"] / best["ndcg"], "MAP@5 of oracle": mine["map"] / best["map"]}
                rows.append({"model": model, **share, "AUC": roc_auc_score(judged.label, judged.score)})
            rows.append({"model": "oracle", "NDCG@5": best["ndcg"], "of oracle": 1.0, "MAP@5 of oracle": 1.0})
    table = pd.DataFrame(rows).groupby("model", sort=False).agg(["mean", "std"]).round(4)
    print(table.to_string())


def zimnat() -> None:
    """Hide one product that a customer holds and rank the 21: hit rate, MRR, log-loss over customer × product as its site counts."""
    data = pd.read_csv(CASES / "zimnat" / "holdings.csv.gz")
    products = list(data.columns[8:])
    held = data[products].to_numpy(bool)
    chance = np.random.default_rng(SEED)
    hidden = np.where(held, chance.random(held.shape), -1).argmax(axis=1)
    seen = held.copy()
    seen[np.arange(len(held)), hidden] = False
    judged = chance.random(len(held)) < 0.2
    person = pd.DataFrame(
        {name: data[name].fillna("").astype(str) for name in ("sex", "marital_status", "occupation_category_code", "branch_code")}
    )
    person["birth_year"], person["joined"] = data.birth_year, pd.to_datetime(data.join_date, format="%d/%m/%Y", errors="coerce").dt.year
    person = pd.concat([person, pd.DataFrame(seen.astype(float), columns=[f"has {name}" for name in products])], axis=1)
    lists = [[products[place] for place in np.flatnonzero(row)] for row in seen]

    def pairs(customers: np.ndarray) -> Pairs:
        rows, columns = np.nonzero(~seen[customers])
        who = customers[rows]
        frame = person.iloc[who].reset_index(drop=True)
        frame = frame.assign(customer=who, product=np.array(products)[columns], taken=(hidden[who] == columns).astype(int), round=0)
        frame = frame.assign(asked_before=0, taken_before=0, heuristic=0.0, basket=[lists[one] for one in who])
        numbers = ("birth_year", "joined", *(f"has {name}" for name in products))
        return Pairs(frame, numbers, ("sex", "marital_status", "occupation_category_code", "branch_code"))

    learned, asked = chance.permutation(np.flatnonzero(~judged)), pairs(np.flatnonzero(judged))
    for model, most in (("popularity", None), ("collaborative", None), ("logistic", 500), ("boosting", None)):
        fitted = make(model)
        fitted.fit(pairs(np.sort(learned[:most])), SEED)
        frame = asked.frame.assign(p=fitted.propensity(asked))
        frame["p"] /= frame.groupby("customer").p.transform("sum")  # exactly one is hidden
        place = frame.groupby("customer").p.rank(ascending=False)[frame.taken == 1].to_numpy()
        p = frame.p.clip(1e-6, 1 - 1e-6)
        loss = -(frame.taken * np.log(p) + (1 - frame.taken) * np.log(1 - p)).sum() / (judged.sum() * len(products))
        hits = [f"hit@{k} {interval((place <= k).astype(float), SEED)}" for k in (1, 3)]
        print(f"{model:14s} {'; '.join(hits)}; MRR {np.mean(1 / place):.4f}; log-loss {loss:.4f}", flush=True)


def bank_marketing() -> None:
    """Subscription: learned from the first seven tenths of the calls, judged on the rest, as time went. `duration` is left out."""
    data = pd.read_csv(CASES / "bank-marketing" / "bank-additional-full.csv.gz", sep=";")
    label = (data.pop("y") == "yes").to_numpy(float)
    data = data.drop(columns="duration")
    words = tuple(name for name in data if not pd.api.types.is_numeric_dtype(data[name]))
    numbers = tuple(name for name in data if name not in words)
    cut = int(0.7 * len(data))
    table = Table(data, numbers, words, label)
    judged = np.arange(cut, len(data))
    for family, setting in (("linear", {"C": 1.0}), ("boosting", {"max_leaf_nodes": 8})):
        model = Activity.fitted(table.rows(np.arange(cut)), SEED, {family: [setting]})
        probability = model.probability(table.features.iloc[judged])
        found = weighted_interval(judged, auc(label[judged], probability), SEED)
        base = f"subscribed {label[:cut].mean():.3f} before and {label[cut:].mean():.3f} after; forecast {probability.mean():.3f}"
        print(f"{family:10s} AUC {found}; {base}", flush=True)


def hillstrom() -> None:
    """Uplift of visits, cross-validated; `response` is the thing to beat."""
    left = ("conversion", "spend")
    found = uplift(
        CASES / "hillstrom" / "hillstrom.csv.gz", treatment="segment", control="No E-Mail", outcome="visit", leave_out=left, seed=SEED
    )
    for item in found:
        print(f"{item.treatment:14s} {item.learner:9s} uplift@30% {item.at_share}; Qini {item.qini}; AUUC {item.auuc}", flush=True)


def open_bandit() -> None:
    """The click rate of the Bernoulli-Thompson policy, estimated from the log of the random one, beside its own."""
    random, thompson = (pd.read_csv(CASES / "open-bandit" / name / "men.csv.gz") for name in ("random", "bts"))
    by = ["position", "item_id"]
    policy = thompson.groupby(by).size() / thompson.groupby("position").size()  # it looks at no context
    logged = random.propensity_score.to_numpy(float)
    target = random.set_index(by).index.map(policy).to_numpy(float, na_value=0.0)
    reward = random.click.to_numpy(float)
    half = np.arange(len(random)) % 2 == 0
    expected, of_target = np.zeros(len(random)), np.zeros(len(random))
    for own in (half, ~half):  # the reward model of a row is learned from the other half
        rest = random[~own]
        rate = (rest.groupby("item_id").click.sum() + 20 * rest.click.mean()) / (rest.groupby("item_id").size() + 20)
        expected[own] = random.item_id[own].map(rate).fillna(rest.click.mean())
        mean = (policy * policy.index.get_level_values("item_id").map(rate)).groupby("position").sum()
        of_target[own] = random.position[own].map(mean)
    truth = interval(thompson.click.to_numpy(float), SEED)
    seen = overlap(logged, target)
    print(f"its own log: {truth}; effective sample {seen.effective:.0f} of {seen.rows}, thin: {seen.thin}")
    for found in (ipw(reward, logged, target), snipw(reward, logged, target), doubly_robust(reward, logged, target, expected, of_target)):
        off = abs(found.value - truth.value) / truth.value
        print(f"{found.method:6s} {found.value:.5f} ({found.low:.5f} to {found.high:.5f}), off by {off:.0%}")


def experiments() -> None:
    """False alarms: two arms that are the same, 1,000 times; looked at once, and looked at on each of twenty days."""
    chance, days, each = np.random.default_rng(SEED), 20, 200
    once, often, anytime = [], [], []
    for _ in range(1000):
        arms = [(chance.random((days, each)) < 0.1).sum(axis=1).cumsum() for _ in range(2)]
        seen = [
            read(*(Arm(each * day, float(taken[day - 1]), float(taken[day - 1])) for taken in arms), planned=2 * days * each)
            for day in range(1, days + 1)
        ]
        once.append(seen[-1].fixed.clear)
        often.append(any(item.fixed.clear for item in seen))
        anytime.append(any(item.anytime.clear for item in seen))
    for name, alarms in (("fixed, at the end", once), ("fixed, every day", often), ("anytime-valid, every day", anytime)):
        print(f"{name:24s} {np.mean(alarms):.3f}", flush=True)


def shop() -> None:
    """Activity: nested cross-validation, five folds five times over, copies in one fold; twenty single splits. Forty minutes.

    The model was made with the folds of the first seed before its maker's eyes; those of the others are new to it.
    """
    names = ("roc_auc", "pr_auc", "f1", "brier", "calibration_error", "families", "hold_outs")
    for seed, hold_outs in ((SEED, 20), (SEED + 1, 0), (SEED + 2, 0)):
        with tempfile.TemporaryDirectory() as temp:
            found = train_activity(CASES / "shop", out=Path(temp) / "model", repeats=5, hold_outs=hold_outs, seed=seed)
        print(seed, {name: found.card.figures.get(name) for name in names}, flush=True)


def speed() -> None:
    """Scoring in batches beside the same model asked for one customer after another: a ratio, measured in one run."""
    from nextbest.services.answers import read_answers

    world = sorted((CASES / "upsell").glob("world-*"))[0]
    with read_answers(world, "upsell") as answers:
        model = make("logistic")
        model.fit(answers.answered(), SEED)
        batches = list(answers.open())
        taken = []
        for _ in range(9):
            started = time.perf_counter()
            for batch in batches:
                model.propensity(batch)
            taken.append(time.perf_counter() - started)
        whole = statistics.median(taken)
        frame = pd.concat([batch.frame for batch in batches])
        some = frame.customer.unique()[:100]
        started = time.perf_counter()
        for one in some:
            model.propensity(Pairs(frame[frame.customer == one].reset_index(drop=True), batches[0].numbers, batches[0].words))
        single = (time.perf_counter() - started) * frame.customer.nunique() / len(some)
    print(f"{len(frame)} pairs: {whole:.3f} s in batches, {single:.1f} s one by one: {single / whole:.0f} times")


PARTS = {
    "upsell": upsell,
    "zimnat": zimnat,
    "bank-marketing": bank_marketing,
    "hillstrom": hillstrom,
    "open-bandit": open_bandit,
    "experiments": experiments,
    "shop": shop,
    "speed": speed,
}

if __name__ == "__main__":
    if not CASES.is_dir():
        sys.exit(f"{CASES} is not there: these figures are of the shared cases")
    for name in sys.argv[1:] or PARTS:
        print(f"## {name}: {PARTS[name].__doc__}", flush=True)
        PARTS[name]()
