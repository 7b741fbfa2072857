"""What customers said is heeded, however and whenever it was said: in other spellings, late, while a run goes on, before a rerun."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

import nextbest as nb
from nextbest.errors import DataError, StoreError, UsageError
from nextbest.services.job import Job


def meanwhile(monkeypatch, happens, stage="write"):
    """Something happens while a run is at work, after `stage`."""
    original, done = getattr(Job, stage), []

    def and_then(self):
        original(self)
        if not done:
            done.append(1)
            happens()

    monkeypatch.setattr(Job, stage, and_then)


def test_names_and_codes_are_taken_in_any_spelling(town):
    for code in (1, 2, 3, 4):
        town.client(code)
    for customer, purpose, channel in ((" 1 ", "Marketing", None), ("2.0", "marketing", ""), (3, " MARKETING ", "Push")):
        nb.consent(customer, purpose, False, channel=channel, workspace=town.place)
    path = town.bank.folder / "consents.csv"
    path.write_text("client_code,purpose,channel,granted,happened\n4.0,Marketing,PUSH,no,01.02.2025\n")
    assert nb.import_consents(path, workspace=town.place).added == 1
    assert set(town.held(town.decide()).values()) == {"consent"}


@pytest.mark.parametrize(
    "wrong", [{"purpose": ""}, {"purpose": "a b"}, {"channel": "p;q"}, {"customer": " "}, {"granted": "no"}, {"happened": "2025-01-01"}]
)
def test_what_is_no_consent_is_refused(town, wrong):
    with pytest.raises(UsageError):
        nb.consent(**{"customer": 1, "purpose": "marketing", "granted": True, "workspace": town.place, **wrong})


def test_a_purpose_that_the_playbook_does_not_know_is_told(town):
    town.client(1)
    nb.consent(1, "marketin", False, workspace=town.place)
    assert [(item["problem"], item["column"]) for item in town.decide().record["problems"]] == [("unknown_purpose", "marketin")]


def test_of_yes_and_no_at_one_time_the_no_counts(town):
    town.client(1).client(2)
    path = town.bank.folder / "consents.csv"
    rows = ["1,marketing,no", "1,marketing,yes", "2,marketing,yes", "2,marketing,no"]
    path.write_text("customer,purpose,granted,happened\n" + "".join(f"{row},2025-01-01T10:00:00Z\n" for row in rows))
    nb.import_consents(path, workspace=town.place)
    assert set(town.held(town.decide()).values()) == {"consent"}


def test_a_yes_dated_ahead_does_not_outweigh_a_no_said_since(town):
    town.client(1)
    nb.consent(1, "marketing", True, happened=datetime.now(UTC) + timedelta(hours=5), workspace=town.place)
    nb.consent(1, "marketing", False, workspace=town.place)
    assert town.held(town.decide((datetime.now(UTC) + timedelta(days=2)).isoformat()))["1"] == "consent"


def test_times_with_a_zone_are_taken_with_it(town):
    path = town.bank.folder / "consents.csv"
    times = ["2025-09-01T10:00:00+05:00", "2025-09-01 10:00:00+05", "2025-09-01T05:00:00Z", "01.09.2025 10:00", "01-09-2025 10:00"]
    path.write_text("customer;purpose;granted;happened\n" + "".join(f"{n};marketing;yes;{time}\n" for n, time in enumerate(times)))
    nb.import_consents(path, workspace=town.place, time_zone="Asia/Almaty")
    assert town.rows("select distinct happened from consent") == [(int(datetime(2025, 9, 1, 5, tzinfo=UTC).timestamp()),)]


def test_a_row_that_cannot_be_split_is_not_lost(town):
    path = town.bank.folder / "consents.csv"
    path.write_text("customer,purpose,granted,happened,source\n1,marketing,no,2025-01-01,letter, of May\n2,marketing,no,2025-01-01,call\n")
    found = nb.import_consents(path, workspace=town.place, rejects=town.bank.folder / "rejected.csv")
    assert (found.rows, found.added, found.rejected) == (2, 1, {"malformed_row": 1})
    assert pd.read_csv(town.bank.folder / "rejected.csv").reason.tolist() == ["malformed_row"]


def test_a_file_of_events_about_nothing_is_refused(town):
    town.client(1)
    town.decide()
    path = town.bank.folder / "events.csv"
    path.write_text("event_id,event,happened\n1,clicked,2025-09-01\n")
    with pytest.raises(DataError, match="decision_id, or customer and offer"):
        nb.import_outcomes(path, workspace=town.place)
    with pytest.raises(UsageError, match="no file"):
        nb.import_outcomes(path.parent / "none.csv", workspace=town.place)


@pytest.mark.parametrize(
    "row",
    [
        "x,opted_out,2026-03-01T10:00:00Z,,1,travel-card",
        "x,opted_out,2025-09-02T10:00:00Z,,1,",
        "x,opted_out,2025-09-02T10:00:00Z,nowhere-1,1,",
    ],
)
def test_an_opt_out_is_heeded_even_where_no_contact_is_found(town, row):
    town.client(1)
    town.decide("2025-09-01T12:00")
    path = town.bank.folder / "events.csv"
    path.write_text(f"event_id,event,happened,decision_id,customer,offer\n{row}\n")
    for opted_out in (1, 0):  # once
        assert nb.import_outcomes(path, workspace=town.place).opted_out == opted_out
    assert town.held(town.decide("2026-04-01T12:00"))["1"] == "consent" and nb.verify(town.place).whole


def test_a_suppression_while_the_run_goes_on_is_heeded_and_before_a_rerun(town, monkeypatch):
    town.client(1).client(2)
    meanwhile(monkeypatch, lambda: nb.suppress_customer(1, date(2090, 1, 1), workspace=town.place))
    assert town.held(town.decide()) == {"1": "withdrawn", "2": None}
    nb.suppress_customer(2, date(2090, 1, 1), workspace=town.place)
    assert town.held(town.decide()) == {"1": "withdrawn", "2": "withdrawn"}


def test_an_objection_while_the_run_goes_on_leaves_nothing_of_the_scores(town, monkeypatch):
    town.client(1).client(2)
    meanwhile(monkeypatch, lambda: nb.consent(1, "profiling", False, workspace=town.place))
    run = town.decide()
    assert set(run.features.client_code) == {2} == set(run.decisions.client_code)
    assert town.rows("select customer, held_by, send_at from decision where customer = '1'") == [("1", "profiling", None)]
    assert all(nb.replay(f"{run.record['workspace']['run_id']}-{n}", workspace=town.place).same for n in (0, 1))
    monkeypatch.undo()
    again = town.decide()
    assert set(again.features.client_code) == {2} and nb.verify(town.place).whole


def test_a_refusal_of_marketing_while_the_run_goes_on_does_not_stop_a_service_message(town, monkeypatch):
    town.client(1).edit("offers/travel-card.yaml", ("category: cards\n", "category: cards\npurpose: service\n"))
    meanwhile(monkeypatch, lambda: nb.consent(1, "marketing", False, workspace=town.place))
    assert town.held(town.decide())["1"] is None


def test_a_refusal_while_the_files_are_written_is_heeded(town, monkeypatch):
    from nextbest.services import decide

    town.client(1).client(2)
    original, done = decide._Batch._report, []

    def report(self):
        original(self)
        if not done:
            done.append(nb.consent(1, "marketing", False, workspace=town.place))

    monkeypatch.setattr(decide._Batch, "_report", report)
    run = town.decide()
    assert run.recommendations.push_notification[0] == "" and town.held(run) == {"1": "withdrawn", "2": None}


def test_a_refusal_noted_while_another_process_takes_the_run_over_is_heeded(town, monkeypatch):
    town.client(1)

    def taken_over():
        monkeypatch.undo()
        town.decide()  # the same run, by somebody else
        nb.consent(1, "marketing", False, workspace=town.place)

    meanwhile(monkeypatch, taken_over)
    assert town.held(town.decide())["1"] == "withdrawn"


def test_the_same_call_after_an_erasure_leaves_the_customer_alone(town):
    town.client(1).client(2)
    first = town.decide()
    nb.erase_customer(1, workspace=town.place)
    again = town.decide()
    assert set(again.features.client_code) == {2} and again.recommendations.push_notification.tolist()[0] == ""
    assert again.recommendations.push_notification[1] == first.recommendations.push_notification[1]
    later = town.decide("2025-09-20T12:00")
    assert set(later.features.client_code) == {2}
    assert town.rows("select count(*) from decision where customer = '1'") == [(0,)]  # the code does not come back
    assert nb.verify(town.place).whole


def test_the_same_call_after_retention_is_refused_rather_than_forgetting_the_caps(town):
    town.client(1)
    town.decide()
    nb.prune(workspace=town.place, playbook=town.playbook, as_of="2045-01-01")
    with pytest.raises(StoreError, match="emptied since"):
        town.decide()


def test_a_retention_shorter_than_a_cap_is_refused(town):
    town.edit(
        "params.yaml", ("keep_decisions: {unit: days, values: {2025-01-01: 1825}", "keep_decisions: {unit: days, values: {2025-01-01: 20}")
    )
    with pytest.raises(nb.errors.PlaybookError, match="shorter than a cap"):
        nb.check(town.playbook)


def test_numbers_of_consents_are_never_given_twice(town):
    town.client(1).client(2)
    nb.consent(1, "marketing", True, workspace=town.place)
    run = town.decide()
    nb.erase_customer(1, workspace=town.place)
    nb.consent(2, "marketing", False, workspace=town.place)
    assert town.rows("select consent_id from consent") == [(2,)]
    assert town.held(town.decide())["2"] == "withdrawn" and run.folder.exists()


def test_erasing_after_a_crash_frees_what_was_reserved(town, monkeypatch):
    town.client(1).client(2)
    town.decide("2025-09-01T12:00")
    monkeypatch.setattr(Job, "write", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        town.decide("2025-09-02T12:00")
    monkeypatch.undo()
    with pytest.raises(StoreError, match="a run goes on"):
        nb.erase_customer(1, workspace=town.place)
    from nextbest.store import workspace

    later = workspace.time.time() + 3600
    monkeypatch.setattr(workspace.time, "time", lambda: later)
    assert nb.erase_customer(1, workspace=town.place) == 1


def test_a_correction_at_the_same_moment_does_not_write_twice(town):
    """Other data, so another run; the day's cap holds it."""
    town.client(1)
    town.decide()
    town.client(2)
    assert town.held(town.decide()) == {"1": "cap:day", "2": None}


def test_a_run_slower_than_its_lease_is_recorded_if_nobody_took_its_place(town, monkeypatch):
    from nextbest.store import workspace

    town.client(1)
    later = workspace.time.time() + 3600
    meanwhile(monkeypatch, lambda: monkeypatch.setattr(workspace.time, "time", lambda: later))
    assert town.held(town.decide())["1"] is None and nb.verify(town.place).whole


def test_where_no_workspace_is_nothing_is_verified(tmp_path):
    for call in (lambda p: nb.verify(p), lambda p: nb.prune(workspace=p), lambda p: nb.export_customer(1, workspace=p)):
        with pytest.raises(UsageError, match="no workspace is here"):
            call(str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()
