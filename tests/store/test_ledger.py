"""The ledger: what it holds, that it comes out again, that nobody alters it unseen; and customers' rights over it."""

import json
from datetime import UTC, date, datetime

import pandas as pd
import pytest
from sqlalchemy import delete, select, update

import nextbest as nb
from nextbest.errors import StoreError, UsageError
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace

SAME_FILES = ("recommendations.csv", "decisions.parquet", "features.parquet", "messages.parquet", "rejects.parquet", "report.html")


def same_output(one, two):
    return all((one.folder / name).read_bytes() == (two.folder / name).read_bytes() for name in SAME_FILES)


def test_the_same_call_again_makes_the_same_output_and_contacts_nobody_twice(town):
    town.client(1).client(2)
    first, again = town.decide("2025-09-01T12:00"), town.decide("2025-09-01T12:00")
    assert same_output(first, again)
    assert town.rows("select count(*) from decision where send_at is not null") == [(2,)]
    assert nb.verify(town.place).whole


def test_the_same_call_again_knows_what_it_knew_then(town):
    """Contacts and answers that came between do not change a run that is recorded."""
    town.client(1)
    first = town.decide("2025-09-03T12:00")
    for day in (1, 2):
        town.decide(f"2025-09-{day:02}T12:00")
    town.outcomes(f"a,refused,2025-09-01T15:00:00Z,{town.decision(first, 1)}")
    assert same_output(first, town.decide("2025-09-03T12:00"))


def test_who_opted_out_since_is_not_written_to_by_the_same_call(town):
    town.client(1).client(2)
    town.decide("2025-09-01T12:00")
    nb.consent(2, "marketing", False, workspace=town.place)
    again = town.decide("2025-09-01T12:00")
    assert town.held(again) == {"1": None, "2": "withdrawn"}
    assert nb.verify(town.place).whole


def test_a_run_that_would_come_out_otherwise_is_refused(town, monkeypatch):
    town.client(1)
    town.decide()
    from nextbest.services import job

    original = job.Job.score

    def other_scores(self):
        original(self)
        self.engine.execute('update scored set "travel-card.benefit" = "travel-card.benefit" + 1')

    monkeypatch.setattr(job.Job, "score", other_scores)
    with pytest.raises(StoreError, match="come out differently"):
        town.decide()


def test_every_decision_replays_byte_for_byte(town):
    for code, marketing in ((1, ""), (2, "no"), (3, ""), (4, "")):
        town.client(code, marketing=marketing)
    nb.consent(4, "profiling", False, workspace=town.place)
    runs = [town.decide(f"2025-09-{day:02}T12:00") for day in (1, 2)]
    town.outcomes(f"a,refused,2025-09-02T15:00:00Z,{town.decision(runs[0], 1)}")
    runs += [town.decide(f"2025-09-{day:02}T12:00") for day in (3, 4, 5)]
    ids = [f"{run_id}-{place}" for run_id, place in town.rows("select run_id, place from decision order by 1, 2")]
    assert len(ids) == 20
    for decision_id in ids:
        found = nb.replay(decision_id, workspace=town.place)
        assert found.same and not found.missing, (found.recorded, found.again)


def test_a_record_carries_all_that_made_it(town):
    town.client(1)
    run = town.decide()
    found = nb.replay(town.decision(run, 1), workspace=town.place)
    record = json.loads(found.recorded)
    assert record["customer"] == "1" and record["offer"] == "travel-card" and record["text"] == run.messages.message[0]
    verdicts = {item["offer"]: row[0] for item, row in zip(found.header["offered"], record["verdicts"], strict=True)}
    assert verdicts == dict(zip(run.decisions.offer, run.decisions.verdict, strict=True))
    assert found.header["as_of"] == "2025-08-31" and found.header["playbook"]["sha256"] == run.record["playbook"]["sha256"]
    assert found.header["data"]["sha256"] == run.record["data"]["sha256"]
    assert {"seed", "engine", "nextbest", "population"} <= set(found.header)


def test_replay_says_what_is_missing(town):
    town.client(1)
    run = town.decide()
    with Workspace(town.place) as store, store.writing() as connection:
        connection.execute(delete(tables.playbook))
    found = nb.replay(town.decision(run, 1), workspace=town.place)
    assert not found.same and "the playbook bank-kz" in found.missing[0]
    with pytest.raises(UsageError, match="not in this workspace"):
        nb.replay("nonsense", workspace=town.place)
    with pytest.raises(UsageError, match="not in this workspace"):
        nb.replay(town.decision(run, 1) + "9", workspace=town.place)


def test_replay_shows_where_another_policy_would_decide_otherwise(town, monkeypatch):
    town.client(1)
    run = town.decide()
    monkeypatch.setattr("nextbest.messages.greeting.NAME", "^$")
    found = nb.replay(town.decision(run, 1), workspace=town.place)
    assert not found.same and "text" in found.differs


TAMPERING = {
    "a record's text": lambda c: c.execute(update(tables.entry).where(tables.entry.c.seq == 1).values(content=b"x")),
    "a header": lambda c: c.execute(update(tables.entry).where(tables.entry.c.seq == 2).values(header='{"recorded": 1}')),
    "an entry goes": lambda c: c.execute(delete(tables.entry).where(tables.entry.c.seq == 2)),
    "the last entry goes": lambda c: c.execute(delete(tables.entry).where(tables.entry.c.seq == 4)),
    "the hash and the note follow": lambda c: (
        c.execute(update(tables.entry).where(tables.entry.c.seq == 4).values(hash="0" * 64)),
        c.execute(update(tables.note).where(tables.note.c.name == "ledger head").values(value="4 " + "0" * 64)),
    ),
    "a contact vanishes": lambda c: c.execute(delete(tables.decision).where(tables.decision.c.place == 0)),
    "a contact moves": lambda c: c.execute(update(tables.decision).values(send_at=tables.decision.c.send_at + 1)),
    "a refusal turns into a consent": lambda c: c.execute(update(tables.consent).values(granted=True)),
    "an answer vanishes": lambda c: c.execute(delete(tables.outcome)),
    "a run counts as never recorded": lambda c: c.execute(update(tables.run).values(recorded=None)),
    "a playbook is changed": lambda c: c.execute(update(tables.playbook).values(archive=b"PK")),
    "a run's contacts look long past": lambda c: c.execute(update(tables.run).values(last_send_at=0)),
    "a cap is told of another lane": lambda c: c.execute(update(tables.offered).values(lane="service")),
    "an erasure is made up": lambda c: c.execute(tables.erased.insert().values(digest="0" * 64, happened=1)),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found(town, what):
    town.client(1).client(2)
    run = town.decide("2025-09-01T12:00")
    nb.consent(2, "marketing", False, workspace=town.place)
    town.outcomes(f"a,clicked,2025-09-01T15:00:00Z,{town.decision(run, 1)}")
    town.decide("2025-09-02T12:00")
    assert nb.verify(town.place).whole
    with Workspace(town.place) as store, store.writing() as connection:
        TAMPERING[what](connection)
    assert not nb.verify(town.place).whole


def test_a_head_noted_elsewhere_proves_that_nothing_was_cut_off(town):
    town.client(1)
    town.decide("2025-09-01T12:00")
    noted = nb.verify(town.place).head
    town.decide("2025-09-02T12:00")
    later = nb.verify(town.place).head
    assert nb.verify(town.place, noted).whole and nb.verify(town.place, later).whole
    assert nb.verify(town.place, "f" * 64).faults == ["the expected head is not in the chain"]


def test_export_holds_everything_about_one_customer_and_nobody_else(town):
    town.client(1, name="Асель").client(2, name="Данияр")
    run = town.decide("2025-09-01T12:00")
    nb.consent(1, "marketing", True, workspace=town.place, actor="desk", source="form 12")
    nb.suppress_customer(1, date(2030, 1, 1), workspace=town.place, source="call")
    town.outcomes(f"a,clicked,2025-09-01T15:00:00Z,{town.decision(run, 1)}")
    found = nb.export_customer(1, workspace=town.place)
    assert [len(found[name]) for name in ("decisions", "consents", "suppressions", "outcomes")] == [1, 1, 1, 1]
    assert found["decisions"][0]["inputs"]["name"] == "Асель" and found["consents"][0]["source"] == "form 12"
    assert "Данияр" not in json.dumps(found, ensure_ascii=False)
    with pytest.raises(UsageError, match="holds nothing"):
        nb.export_customer(3, workspace=town.place)


def test_erasure_leaves_nothing_of_the_customer_and_the_chain_whole(town, place):
    town.client(777001, name="Есимхан").client(2)
    run = town.decide("2025-09-01T12:00")
    nb.consent(777001, "marketing", True, workspace=place, source="form 12")
    town.outcomes(f"a,clicked,2025-09-01T15:00:00Z,{town.decision(run, 777001)}")
    before = nb.verify(place)
    assert nb.erase_customer(777001, workspace=place, reason="asked for") == 3
    after = nb.verify(place)
    assert after.whole and after.taken_out == 3 and after.records == before.records
    with Workspace(place) as store, store.reading() as connection:
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                for value in row:
                    if isinstance(value, bytes) and value[:4] == b"PAR1":
                        value = str(ledger.unpacked(value, whole=True).to_pylist())
                    assert "777001" not in str(value) and "Есимхан" not in str(value)
    assert nb.replay(town.decision(run, 2), workspace=place).same
    with pytest.raises(UsageError, match="holds nothing"):
        nb.erase_customer(777001, workspace=place)


def test_who_was_erased_and_is_in_the_data_again_is_left_alone(town):
    town.client(1).client(2)
    town.decide("2025-09-01T12:00")
    nb.erase_customer(1, workspace=town.place)
    run = town.decide("2025-09-10T12:00")
    assert set(run.features.client_code) == {2} and run.record["counts"]["held_by"] == {"erased": 1}


def test_retention_empties_what_is_too_old(town):
    town.client(1)
    run = town.decide("2025-09-01T12:00")
    for year in (2020, 2022):
        nb.consent(1, "marketing", True, workspace=town.place, happened=datetime(year, 1, 1, tzinfo=UTC))
    town.outcomes(f"a,clicked,2025-09-01T15:00:00Z,{town.decision(run, 1)}")
    nb.suppress_customer(1, date(2030, 1, 1), workspace=town.place)
    nothing = {"decisions": 0, "outcomes": 0, "suppressions": 0, "consents": 0}
    assert nb.prune(workspace=town.place, playbook=town.playbook) == nothing
    late = date(2045, 1, 1)
    assert nb.prune(workspace=town.place, playbook=town.playbook, as_of=late) == dict.fromkeys(nothing, 1)
    assert nb.verify(town.place).whole
    assert town.rows("select happened from consent") == [(int(datetime(2022, 1, 1, tzinfo=UTC).timestamp()),)]  # the word in force stays
    assert nb.prune(workspace=town.place, playbook=town.playbook, as_of=late) == nothing


def test_outcomes_land_once_and_at_their_own_time(town):
    town.client(1).client(2)
    run = town.decide("2025-09-01T12:00")
    one, two = town.decision(run, 1), town.decision(run, 2)
    rows = [
        f"e3,clicked,2025-09-03T10:00:00Z,{one}",
        f"e1,delivered,2025-09-01T07:00:05Z,{one}",  # out of order
        f"e9,accepted,2026-03-01T10:00:00Z,{two}",  # long after the attribution window
        f"e3,clicked,2025-09-03T10:00:00Z,{one}",  # twice in the file
        "e4,clicked,2025-09-03T10:00:00Z,no-such-7",
        f"e5,danced,2025-09-03T10:00:00Z,{one}",
        f"e6,clicked,yesterday,{one}",
        f",clicked,2025-09-03T10:00:00Z,{one}",
    ]
    found = town.outcomes(*rows)
    assert (found.rows, found.added, found.known) == (8, 3, 1)
    assert found.rejected == {"bad_time": 1, "no_event_id": 1, "unknown_decision": 1, "unknown_event": 1}
    assert pd.read_csv(town.bank.folder / "rejected.csv").row.tolist() == [5, 6, 7, 8]
    again = town.outcomes(*rows[:3])
    assert (again.added, again.known) == (0, 3)
    assert town.rows("select event_id, event, attributed from outcome order by event_id") == [
        ("e1", "delivered", True), ("e3", "clicked", True), ("e9", "accepted", False),
    ]  # fmt: skip
    reused = town.outcomes(f"e1,refused,2025-09-03T10:00:00Z,{one}")
    assert reused.rejected == {"event_id_reused": 1} and nb.verify(town.place).whole


def test_an_outcome_without_a_decision_finds_the_last_contact_about_the_offer(town):
    town.client(1)
    runs = [town.decide(f"2025-09-{day:02}T12:00") for day in (1, 15)]
    path = town.bank.folder / "sales.csv"
    path.write_text(
        "id;type;date;client_code;offer\n"
        "s1;accepted;2025-09-20 10:00;1;travel-card\ns2;accepted;2025-09-02 10:00;1;travel-card\n"
        "s3;accepted;2025-12-20 10:00;1;travel-card\ns4;accepted;2025-09-20 10:00;1;gold-bars\n"
    )
    found = nb.import_outcomes(path, workspace=town.place, time_zone="Asia/Almaty")
    assert (found.added, found.rejected) == (2, {"no_contact": 2})
    landed = dict(town.rows("select event_id, run_id from outcome"))
    assert landed == {"s1": runs[1].record["workspace"]["run_id"], "s2": runs[0].record["workspace"]["run_id"]}


def test_consents_from_a_file_with_their_history(town):
    town.client(1).client(2)
    path = town.bank.folder / "consents.csv"
    path.write_text(
        "client_code,purpose,channel,consent,date,who,wording\n"
        "1,marketing,,да,2025-01-10,branch,form 12\n1,marketing,,нет,2025-05-10,call centre,said so\n"
        "2,marketing,push,yes,2025-02-01,app,\n,marketing,,yes,2025-01-01,,\n2,marketing,,maybe,2025-01-01,,\n"
    )
    found = nb.import_consents(path, workspace=town.place, rejects=town.bank.folder / "rejected.csv")
    assert (found.added, found.rejected) == (3, {"no_customer": 1, "unreadable_consent": 1})
    assert nb.import_consents(path, workspace=town.place).known == 3
    assert [item["source"] for item in nb.export_customer(1, workspace=town.place)["consents"]] == ["form 12", "said so"]
    assert town.held(town.decide()) == {"1": "consent", "2": None}
    assert nb.verify(town.place).whole


def test_migrations_make_the_tables_that_the_code_names(place):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with Workspace(place) as store, store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_workspace_of_a_newer_version_is_refused(place):
    with Workspace(place) as store, store.writing() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(StoreError, match="newer Nextbest"):
        Workspace(place)


@pytest.mark.parametrize("wrong", ["mysql://host/name", "http://nowhere", "/dev/null/x"])
def test_what_is_no_workspace_is_refused(wrong):
    with pytest.raises(UsageError):
        Workspace(wrong)


def test_a_server_that_is_not_there_is_told_without_the_password():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as told:
        Workspace("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(told.value) and told.value.exit_code == 5
