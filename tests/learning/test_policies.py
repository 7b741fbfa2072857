"""From the records of a playbook that explores: what another way of choosing would have earned, beside the truth."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sqlalchemy import select
from tests.learning.conftest import world
from typer.testing import CliRunner

import nextbest as nb
from nextbest.cli import app
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import DataError, UsageError
from nextbest.playbook.load import load
from nextbest.services import policies
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace

FIRST, ANOTHER = 0.25, 0.1
"""Who accepts: more of those who got what stands first for them. The model of offers that the estimate uses knows nothing of it."""


def answered(decided, folder, number, seed):
    """Answers by known rates."""
    sent = decided.messages.dropna(subset=["send_at"])
    chance = np.random.default_rng(seed).random(len(sent))
    taken = sent[chance < np.where(sent.chance > 0.5, FIRST, ANOTHER)]
    happened = (taken.send_at + pd.Timedelta(days=2)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    events = pd.DataFrame({"event_id": [f"{number}-{i}" for i in taken.index], "event": "accepted", "happened": happened})
    events.assign(decision_id=taken.decision_id).to_csv(folder / f"outcomes{number}.csv", index=False)
    nb.import_outcomes(folder / f"outcomes{number}.csv", workspace=folder / "workspace")


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """Four runs over two thousand customers, half of whom get one of the first three offers by chance."""
    folder = tmp_path_factory.mktemp("explored")
    data = world(folder / "data", customers=2000)
    book = nb.copy("upsell", folder / "playbook")
    params = (book / "params.yaml").read_text()
    for name, before, after in (("exploration_share: {unit: share", 0.05, 0.5), ("rest_after_acceptance: {unit: days", 180, 0)):
        old, new = (f"{name}, values: {{2020-01-01: {value}}}" for value in (before, after))
        assert old in params
        params = params.replace(old, new)
    (book / "params.yaml").write_text(params)
    for number, day in enumerate(("2025-10-01", "2025-10-08", "2025-10-15", "2025-10-22")):
        run = nb.decide(data, book, as_of=day, out=folder / f"out{number}", workspace=folder / "workspace")
        answered(run, folder, number, seed=number)
    return folder


def records(place):
    with Workspace(place, create=False) as store, store.reading() as connection:
        parts = connection.execute(select(tables.entry.c.content).where(tables.entry.c.kind == "decision")).scalars()
        return [json.loads(record) for part in parts for record in ledger.unpacked(part)["record"].to_pylist()]


def best(item, offers, by):
    """The first of the highest among the choices of a record, whose verdicts stand in the order of the offers."""
    values = {offer: verdict[{"benefit": 2, "propensity": 3}[by]] for offer, verdict in zip(offers, item["verdicts"], strict=True)}
    return max(item["choices"], key=lambda offer: (values[offer], -item["choices"].index(offer)))


def test_each_policy_s_interval_holds_what_it_would_have_earned(explored):
    found = nb.policies(workspace=explored / "workspace", until="2025-12-31")
    decided = [item for item in records(explored / "workspace") if item.get("chance")]
    several = np.array([len(item["choices"]) for item in decided])
    truth = {"ranking": FIRST, "random": float(np.mean(FIRST / several + ANOTHER * (1 - 1 / several)))}
    by_name = {item.name: item for item in found.policies}
    assert found.decisions == len(decided) > 5000
    for name, value in truth.items():
        estimate = by_name[name].value
        assert estimate.low < value < estimate.high and estimate.high - estimate.low < 0.05 and not by_name[name].overlap.thin
    offers = list(load(explored / "playbook").model.offers)
    for name in ("propensity", "benefit"):
        value = np.mean([FIRST if item["choices"][0] == best(item, offers, name) else ANOTHER for item in decided])
        assert by_name[name].value.low < value < by_name[name].value.high
    more = by_name["random"].more
    assert more.low < truth["random"] - truth["ranking"] < more.high < 0


OFFERS = {"a": 0.2, "b": 0.25, "c": 0.3, "d": 0.35, "e": 0.4, "f": 0.45}
"""Who accepts what was sent but was not the first."""


def estimated(folder, seed, people=300, each=4, rare=None):
    """What the records of a made-up log say of `eligible`, and the truth: three of five eligible offers are open, in an order of chance.

    `rare`: an offer that is never open but as the first.
    """
    chance = np.random.default_rng(seed)
    shares, settled, answers = [], [], []
    for place in range(people * each):
        names = list(chance.permutation(list(OFFERS)))
        choices, eligible = [name for i, name in enumerate(names[:3]) if i == 0 or name != rare], names[:5]
        even = chance.random() < 0.6
        sent = choices[chance.integers(len(choices))] if even else choices[0]
        likely = {name: 0.6 if name == choices[0] else OFFERS[name] for name in names}
        shares.append({name: likely[name] for name in eligible})
        offers = [
            {
                "option": name,
                "purpose": "marketing",
                "verdict": "ineligible" if name == names[5] else "unsuitable" if name == names[4] else "ranked",
                "rests": None,
                "position": choices.index(name) + 1 if name in choices else None,
                "propensity": 0.5,
                "benefit": 1.0,
            }
            for name in OFFERS
        ]
        logged = 0.6 / len(choices) + 0.4 * (sent == choices[0])
        settled.append({"run_id": "1", "place": place, "customer": str(place % people), "offer": sent, "chance": logged, "offers": offers})
        if chance.random() < likely[sent]:
            answers.append({"run_id": "1", "place": place})
    with DuckDBEngine(folder) as engine:
        engine.load("settled", pa.Table.from_pylist(settled))
        engine.load("answers", pa.Table.from_pylist(answers))
        unjudged = policies._options(engine)
        frame = policies._frame(engine)
    opened = [{item["option"] for item in row["offers"] if item["position"]} for row in settled]
    judged = [[v for name, v in row.items() if name in free or name not in unjudged] for row, free in zip(shares, opened, strict=True)]
    return policies._judged(frame, frame.who.to_numpy(np.int64), "eligible"), np.mean([np.mean(row) for row in judged]), unjudged


def test_the_interval_of_what_eligibility_alone_would_earn_holds_it_as_often_as_it_says(tmp_path):
    found = [estimated(tmp_path, seed) for seed in range(30)]
    assert all(policy.beyond == pytest.approx(2 / 5) for policy, _, unjudged in found if not unjudged)
    assert sum(policy.value.low < truth < policy.value.high for policy, truth, _ in found) >= 25  # of 30; 28 are expected
    assert abs(np.mean([policy.value.value - truth for policy, truth, _ in found])) < 0.012  # four standard errors


def test_what_too_few_got_but_as_the_first_is_left_out_of_eligible_and_named(tmp_path):
    found, _, unjudged = estimated(tmp_path, 1, people=600, rare="c")
    assert unjudged == ("c",) and found.beyond < 2 / 5


def test_a_message_says_how_likely_its_offer_was_and_the_record_replays(explored):
    messages = pd.read_parquet(explored / "out0" / "messages.parquet").dropna(subset=["send_at"])
    assert set(messages.chance.round(4)) <= {0.6667, 0.1667, 0.75, 0.25, 1.0} and len(set(messages.chance)) > 1
    tried = messages[messages.chance < 0.2].iloc[0]
    assert nb.replay(tried.decision_id, workspace=explored / "workspace").same
    said = nb.explain(explored / "out0", tried.customer_id)
    assert said.chance == pytest.approx(1 / 6) and said.offers[0].offer != tried.offer
    shown = CliRunner().invoke(app, ["explain", str(explored / "out0"), str(tried.customer_id)]).stdout
    assert "probability of 16.7%" in shown


def test_answers_that_may_still_come_are_waited_for(explored):
    found = nb.policies(workspace=explored / "workspace", until="2025-11-09")  # thirty days count, from the morning after
    assert found.left_out["answers may still come"] == found.decisions > 1000


def test_the_command_shows_every_policy_and_says_what_is_missing(explored, tmp_path):
    shown = CliRunner().invoke(
        app, ["experiment", "policies", str(explored / "workspace"), "--until", "2025-12-31"], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0 and all(name in shown.stdout for name in ("ranking", "propensity", "benefit", "random", "were not open"))
    with pytest.raises(UsageError, match="accepted"):
        nb.policies(workspace=explored / "workspace", event="bought")
    with pytest.raises(UsageError, match="has decided nothing here"):
        nb.policies(workspace=explored / "workspace", playbook="bank-kz")
    with pytest.raises(DataError, match="answers to 7596 more may still come"):
        nb.policies(workspace=explored / "workspace", until="2025-10-02")


def test_a_playbook_that_does_not_explore_leaves_nothing_to_judge_by(tmp_path, bank):
    book = nb.copy("upsell", tmp_path / "playbook")
    contact = (book / "contact.yaml").read_text()
    (book / "contact.yaml").write_text("\n".join(line for line in contact.splitlines() if not line.startswith("exploration")))
    run = nb.decide(bank, book, as_of="2025-10-01", out=tmp_path / "out", workspace=tmp_path / "workspace")
    answered(run, tmp_path, 0, seed=1)
    assert set(run.messages.dropna(subset=["send_at"]).chance) == {1.0}
    with pytest.raises(DataError, match="no answer to a decision that was drawn"):
        nb.policies(workspace=tmp_path / "workspace")
