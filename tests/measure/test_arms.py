"""Components against one another from live arms: each part of the customers gets a playbook of its own, and the answers are read."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import nextbest as nb
from nextbest.cli import app
from nextbest.errors import DataError, UsageError

EXPLORING = {"share": 1, "among": 3, "salt": "arms"}
ARMS = ("current", "propensity", "random", "eligible")


def changed(path, **entries):
    """The file with other entries; None takes one out."""
    kept = {**yaml.safe_load(path.read_text()), **entries}
    path.write_text(yaml.safe_dump({name: value for name, value in kept.items() if value is not None}, allow_unicode=True))


def playbooks(folder):
    """A playbook that looks mostly at money, and copies that choose by propensity alone, any of the best, and any that is eligible."""
    current = nb.copy("bank-kz", folder / "current")
    weight = yaml.safe_load((current / "params.yaml").read_text())["benefit_weight"] | {"values": {date(2025, 1, 1): 0.9}}
    changed(current / "params.yaml", benefit_weight=weight)
    books = {"current": current} | {name: nb.copy(current, folder / name) for name in ARMS[1:]}
    propensity = yaml.safe_load((books["propensity"] / "playbook.yaml").read_text())["arbitration"] | {"score": "propensity"}
    changed(books["propensity"] / "playbook.yaml", arbitration=propensity)
    changed(books["random"] / "contact.yaml", exploration=EXPLORING)
    changed(books["eligible"] / "contact.yaml", exploration=EXPLORING | {"among": 99}, minimum=None)
    for offer in (books["eligible"] / "offers").glob("*.yaml"):
        changed(offer, suitable=None)
    return books


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """1,200 customers in four arms, written to once; each accepts with the propensity that its playbook gives the offer."""
    folder = tmp_path_factory.mktemp("arms")
    workspace = folder / "workspace"
    nb.synth(1200, out=folder / "data", seed=3, rows_per_customer=60)
    options = [part for name in ARMS for part in ("--arm", f"{name}=0.25")]
    done = CliRunner().invoke(
        app,
        [
            "experiment",
            "assign",
            str(folder / "data" / "clients.csv"),
            "--name",
            "parts",
            "--group",
            "status",
            "--out",
            str(folder / "arms.csv"),
            *options,
        ],
    )
    assert done.exit_code == 0, done.output
    arm = pd.read_csv(folder / "arms.csv", dtype=str).set_index("client_code").arm
    runs = {}
    for name, book in playbooks(folder).items():
        part = folder / f"data-{name}"
        part.mkdir()
        for table in ("clients", "transactions", "transfers"):
            rows = pd.read_csv(folder / "data" / f"{table}.csv", dtype=str)
            rows[rows.client_code.map(arm) == name].to_csv(part / f"{table}.csv", index=False)
        runs[name] = nb.decide(part, book, as_of="2025-08-31", out=folder / f"out-{name}", workspace=workspace)
    sent = pd.concat([run.messages.dropna(subset=["send_at"]).merge(run.decisions) for run in runs.values()])
    taken = sent[np.random.default_rng(0).random(len(sent)) < sent.propensity]
    events = pd.DataFrame({"event_id": np.arange(len(taken)).astype(str), "event": "accepted", "decision_id": taken.decision_id})
    happened = (taken.send_at + pd.Timedelta(days=2)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    events.assign(happened=happened.to_numpy()).to_csv(folder / "outcomes.csv", index=False)
    nb.import_outcomes(folder / "outcomes.csv", workspace=workspace)
    expected = sent.propensity.groupby(sent.client_code.astype(str)).sum()
    return folder, arm, expected.reindex(arm.index, fill_value=0).groupby(arm).mean(), sent


def test_each_arm_is_read_as_what_it_is_worth_give_or_take_chance(arms):
    folder, arm, worth, sent = arms
    found = nb.count_outcomes(folder / "arms.csv", out=folder / "read.csv", workspace=folder / "workspace", until="2025-12-31")
    assert (found.customers, found.messages) == (len(arm), len(sent)) and 0 < found.answered["accepted"] < len(sent)
    read = nb.experiment(folder / "read.csv", control="current", outcome="accepted", guardrails={"messages": 0.2})
    assert read.trusted and not read.harmful
    for name in ("propensity", "random", "eligible"):
        effect = read.effects[name].fixed
        error = (effect.high - effect.low) / (2 * 1.96)
        assert abs(effect.difference - (worth[name] - worth["current"])) < 4 * error < 0.2
    assert worth["propensity"] > worth["current"] > worth["random"] > worth["eligible"]
    assert read.effects["eligible"].fixed.high < 0  # a third of what is accepted at least: it shows


def test_a_copy_that_looks_at_propensity_alone_chooses_otherwise_and_what_is_likelier(arms):
    folder = arms[0]
    ours = nb.decide(folder / "data-current", folder / "current", as_of="2025-08-31", out=folder / "ours").decisions
    other = nb.decide(folder / "data-current", folder / "propensity", as_of="2025-08-31", out=folder / "other").decisions
    ours, other = (table[table["rank"] == 1].set_index("client_code") for table in (ours, other))
    assert (ours.offer != other.offer).mean() > 0.02 and (other.propensity >= ours.propensity).all()


def test_who_got_no_message_counts_too(arms):
    folder, arm, _, sent = arms
    nb.count_outcomes(folder / "arms.csv", out=folder / "all.parquet", workspace=folder / "workspace")
    rows = pd.read_parquet(folder / "all.parquet").set_index("client_code")
    assert rows.messages.to_dict() == sent.client_code.astype(str).value_counts().reindex(arm.index, fill_value=0).to_dict()
    assert (rows.messages == 0).any() and (rows.accepted <= rows.messages).all() and rows.arm.to_dict() == arm.to_dict()


def test_what_cannot_be_counted_is_told(arms):
    folder, workspace = arms[0], arms[0] / "workspace"
    with pytest.raises(UsageError) as error:
        nb.count_outcomes(folder / "none.csv", out=folder / "x.txt", workspace=workspace, events=["bought"])
    assert len(error.value.problems) == 3
    with pytest.raises(DataError, match="none of these customers was sent a message in that time; 0 of 1200 were never"):
        nb.count_outcomes(folder / "arms.csv", out=folder / "x.csv", workspace=workspace, since="2025-12-01")
    (folder / "twice.csv").write_text("client_code\n1\n1\n")
    with pytest.raises(DataError, match="1 rows repeat a client_code"):
        nb.count_outcomes(folder / "twice.csv", out=folder / "x.csv", workspace=workspace)
    (folder / "again.csv").write_text("client_code,Messages,accepted\n1,2,0\n")
    with pytest.raises(UsageError, match="accepted, messages already"):
        nb.count_outcomes(folder / "again.csv", out=folder / "x.csv", workspace=workspace)


def test_who_is_not_known_here_and_what_may_still_be_answered_is_told(arms):
    folder, _, _, sent = arms
    first = sent.client_code.astype(str).iloc[0]
    (folder / "some.csv").write_text(f"client_code,answered,unknown,waiting\n {first} ,x,x,x\nnobody,y,y,y\n")
    found = nb.count_outcomes(folder / "some.csv", out=folder / "some-read.csv", workspace=folder / "workspace", until="2025-09-20")
    assert (found.customers, found.unknown, found.messages, found.waiting) == (2, 1, 1, 1)
    written = pd.read_csv(folder / "some-read.csv")
    assert written.messages.tolist() == [1, 0] and written.waiting.tolist() == ["x", "y"] and len(written.columns) == 6
    workspace = folder / "workspace"
    said = CliRunner().invoke(
        app, ["outcomes", "count", str(folder / "arms.csv"), "--workspace", str(workspace), "--out", str(folder / "y.csv")]
    )
    assert said.exit_code == 0 and "1200 customers" in said.output and "may still come" in said.output
