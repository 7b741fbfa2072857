"""What models see: who may be offered what, and nothing that was not known then."""

import shutil
from datetime import date

import pandas as pd
import pytest

from nextbest.errors import DataError, PlaybookError, UsageError
from nextbest.models.leaks import leaks
from nextbest.playbook.bind import bound
from nextbest.playbook.bind_learning import bound_offer_learning
from nextbest.playbook.load import load
from nextbest.services.answers import read_answers
from nextbest.services.check import copy


def small(folder, **tables):
    """Three customers and two products; a test replaces the tables it is about."""
    texts = {
        "customers": "customer_id,age,income,segment,salary_day\n1,30,8,Mass,31\n2,40,4,HNI,25\n3,50,3.99,Mass,25\n",
        "products": "product_id,product_type,min_income,segment_bias,is_premium\n10,CC,5,Mass,0\n11,FD,1,All,0\n",
        "holdings": "customer_id,product_id\n1,11\n",
        "transactions": "customer_id,date,amount,mcc,channel\n1,2025-02-27,100,fuel,web\n1,2025-02-10,300,fuel,web\n",
        "responses": "campaign_ix,customer_id,product_id,label\n0,1,10,1\n1,1,10,0\n2,1,10,0\n2,2,11,1\n",
        **tables,
    }
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def opened(folder, **options):
    with read_answers(folder, "upsell", **options) as answers:
        frame = answers.engine.batches("from opened", 1000).read_all().to_pandas()
        return frame.set_index(["customer", "product"]), answers


def test_what_is_held_is_never_open(tmp_path):
    frame, _ = opened(small(tmp_path))
    assert (1, 11) not in frame.index and (1, 10) in frame.index and len(frame) == 5


def test_income_counts_from_eight_tenths_of_the_minimum(tmp_path):
    frame, _ = opened(small(tmp_path))
    assert frame.failed[(2, 10)] == "" and frame.failed[(3, 10)] == "income"


def test_the_reason_says_within_and_never_meets(tmp_path):
    frame, answers = opened(small(tmp_path))
    said = [text["en"] for _, text in answers.learning.reasons["income"].speaks_for]
    assert said[int(frame["reason.income"][(2, 10)])] == "income is within 20% of the income requirement"
    assert said[int(frame["reason.income"][(1, 10)])] == "income meets the requirement"


def test_history_is_that_of_earlier_rounds(tmp_path):
    with read_answers(small(tmp_path), "upsell") as answers:
        seen = answers.answered().frame
    mine = seen[(seen.customer == 1) & (seen["product"] == 10)]
    assert mine[["round", "asked_before", "taken_before"]].values.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 1]]


def test_what_comes_later_changes_nothing_that_was_seen_before(tmp_path):
    """Time travel: with the last round's answers turned round, every row of earlier rounds is the same."""
    texts = ["campaign_ix,customer_id,product_id,label\n0,1,10,1\n1,1,10,0\n", "2,1,10,0\n2,2,11,1\n", "2,1,10,1\n2,2,11,0\n"]
    frames = []
    for place, last in enumerate(texts[1:]):
        with read_answers(small(tmp_path / str(place), responses=texts[0] + last), "upsell") as answers:
            frame = answers.answered().frame
            frames.append(frame[frame["round"] < 2].astype(str))
    pd.testing.assert_frame_equal(frames[0], frames[1])


def test_payday_in_a_month_that_is_too_short_is_its_last_day(tmp_path):
    """Pay comes on the 31st: in February on the 28th. The 27th is near, the 10th is not."""
    frame, _ = opened(small(tmp_path))
    assert frame.payday_share[(1, 10)] == 0.25


@pytest.mark.parametrize(
    "day, near",
    [("2025-01-31", True), ("2025-02-03", True), ("2025-02-04", False), ("2025-02-24", False), ("2025-02-25", True), ("2025-03-03", True)],
)
def test_near_payday_reaches_over_months_ends(tmp_path, day, near):
    rows = f"customer_id,date,amount,mcc,channel\n1,{day},100,fuel,web\n"
    frame, _ = opened(small(tmp_path, transactions=rows))
    assert frame.payday_share[(1, 10)] == (1 if near else 0)


def test_recency_is_unknown_for_who_never_bought(tmp_path):
    frame, answers = opened(small(tmp_path))
    assert str(answers.learning.book.as_of) == "2025-02-27"
    assert frame.recency[(1, 10)] == 0 and pd.isna(frame.recency[(2, 10)])


def test_odd_rows_are_told_and_kept_aside(tmp_path):
    odd = "campaign_ix,customer_id,product_id,label\n0,1,10,1\n0,1,10,0\n1,9,10,0\n1,1,99,0\n1,2,10,maybe\n,2,10,0\n2,2,11,0\n"
    with read_answers(small(tmp_path, responses=odd), "upsell") as answers:
        found = {item["problem"]: item["rows"] for item in answers.reading.problems}
        kept = answers.engine.rows("select count(*) from rejects where source = 'answers'")
    assert found == {"duplicate_row": 1, "unknown_customer": 1, "unknown_product": 1, "no_answer": 1, "no_round": 1} and kept == [(5,)]


def test_nobody_who_objects_to_profiling_is_learned_from_or_ranked(tmp_path):
    people = "customer_id,age,income,segment,salary_day,consent_profiling\n1,30,8,Mass,31,no\n2,40,4,HNI,25,yes\n3,50,3.99,Mass,25,\n"
    frame, _ = opened(small(tmp_path, customers=people))
    assert 1 not in frame.index.get_level_values(0)


def test_no_answer_taken_is_told(tmp_path):
    with (
        pytest.raises(DataError, match="nothing to learn from"),
        read_answers(small(tmp_path, responses="campaign_ix,customer_id,product_id,label\n0,1,10,0\n"), "upsell") as answers,
    ):
        answers.answered()


def test_a_playbook_that_does_not_learn_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"learn\.yaml"), read_answers(small(tmp_path), "bank-kz"):
        pass


def test_codes_are_never_features_and_unknown_names_are_told(tmp_path):
    folder = copy("upsell", tmp_path / "mine")
    learn = folder / "learn.yaml"
    learn.write_text(learn.read_text().replace("    - city_tier\n", "    - city_tier\n    - customer_id\n    - no_such\n", 1))
    loaded = load(folder)
    with pytest.raises(PlaybookError) as error:
        bound_offer_learning(bound(loaded, date(2025, 8, 31)))
    assert "'customer_id' is a code" in str(error.value) and "unknown feature 'no_such'" in str(error.value)


def test_an_unknown_payday_is_neither_near_nor_far(tmp_path):
    people = "customer_id,age,income,segment\n1,30,8,Mass\n2,40,4,HNI\n3,50,3.99,Mass\n"
    frame, _ = opened(small(tmp_path, customers=people))
    assert frame.payday_share[(1, 10)] == 0  # nothing near of nothing known


def test_what_was_taken_later_was_not_held_before(tmp_path):
    """Customer 1 took 10 in round 0 and holds it now: the row of round 0 does not know."""
    held = "customer_id,product_id\n1,10\n1,11\n"
    with read_answers(small(tmp_path, holdings=held), "upsell") as answers:
        seen = answers.answered().frame
    mine = seen[seen.customer == 1].set_index("round").basket
    assert [list(mine[turn]) for turn in (0, 1, 2)] == [[11], [10, 11], [10, 11]]


def test_what_was_taken_is_in_the_basket_and_may_be_offered_again(tmp_path):
    """Customer 1 holds 11, and took 10 in round 0, which does not stand among the holdings."""
    with read_answers(small(tmp_path, holdings="customer_id,product_id\n1,11\n"), "upsell") as answers:
        seen = answers.answered().frame
        mine = seen[seen.customer == 1].set_index("round").basket
        assert [list(mine[turn]) for turn in (0, 1, 2)] == [[11], [10, 11], [10, 11]]
        [batch] = answers.open()
    free = batch.frame[batch.frame.customer == 1].set_index("product").basket
    assert 10 in free and 11 not in free and list(free[10]) == [10, 11]


def test_a_round_with_a_date_knows_nothing_that_came_after(tmp_path):
    """Customer 1 spends 300 on the 10th and 100 on the 27th; offers go out on the 12th, on the 27th, and in March."""
    sent = "campaign_ix,customer_id,product_id,label,sent_at\n0,1,10,1,2025-02-12\n1,1,10,0,2025-02-27\n2,1,10,0,2025-03-02\n2,2,11,1,\n"
    with read_answers(small(tmp_path, responses=sent), "upsell", as_of="2025-03-31") as answers:
        seen = answers.answered().frame
        assert answers.days() == {date(2025, 2, 11): [0], date(2025, 2, 26): [1], date(2025, 3, 1): [2]}
    mine = seen[seen.customer == 1].set_index("round")
    assert mine.monetary.to_dict() == {0: 300, 1: 300, 2: 400}
    assert mine.recency.to_dict() == {0: 1, 1: 16, 2: 2}
    assert mine.asked_before.to_dict() == {0: 0, 1: 1, 2: 2}
    with read_answers(tmp_path, "upsell", as_of="2025-02-28") as answers:  # what is sent in March is not known yet
        assert answers.answered().frame["round"].tolist() == [0, 1, 2] and answers.days()[None] == [2]
        assert [item["rows"] for item in answers.reading.problems if item["problem"] == "after_as_of" and item["table"] == "answers"] == [1]


def test_a_round_before_all_rows_is_told(tmp_path):
    sent = "campaign_ix,customer_id,product_id,label,sent_at\n0,1,10,1,2025-01-12\n1,1,10,0,2025-02-27\n"
    with (
        pytest.raises(DataError, match="known on 2025-01-11"),
        read_answers(small(tmp_path, responses=sent), "upsell") as answers,
    ):
        answers.answered()


def test_dates_may_be_typed_have_hours_and_follow_the_last_row_of_activity(tmp_path):
    folder = small(tmp_path)
    days = pd.to_datetime(["2025-02-12 09:00", "2025-02-27 10:00", "2025-03-05 12:00", None])
    answers = pd.read_csv(folder / "responses.csv").assign(sent_at=days)
    (folder / "responses.csv").unlink()
    answers.to_parquet(folder / "responses.parquet")
    for day, kept in ((None, [0, 1, 2, 2]), ("2025-03-05", [0, 1, 2, 2]), ("2025-03-04", [0, 1, 2])):
        with read_answers(folder, "upsell", as_of=day) as found:
            assert found.answered().frame["round"].tolist() == kept


@pytest.mark.parametrize(
    "sent, says",
    [
        ("soon,2025-02-12,2025-02-27", {"bad_date": 1}),
        ("2025-02-12,2025-02-27,2030-02-27", {"after_as_of": 1}),
        ("2025-02-27,2025-02-12,", "before a round of a lower number"),
        ("0001-01-01,2025-02-12,", "known on 0001-01-01"),
    ],
)
def test_dates_of_offers_that_cannot_be_are_told(tmp_path, sent, says):
    one, two, three = sent.split(",")
    rows = f"0,1,10,1,{one}\n1,1,10,0,{two}\n1,2,11,1,{two}\n2,1,10,0,{three}\n"
    folder = small(tmp_path, responses=f"campaign_ix,customer_id,product_id,label,sent_at\n{rows}")
    with read_answers(folder, "upsell", as_of="2025-03-31") as answers:
        if isinstance(says, dict):
            assert len(answers.answered()) == 3 and {item["problem"]: item["rows"] for item in answers.reading.problems} == says
        else:
            with pytest.raises(DataError, match=says):
                answers.answered()


def test_spending_that_follows_from_the_answer_leaks_unless_the_answers_have_dates(bank, tmp_path):
    data = shutil.copytree(bank, tmp_path / "bank")
    answers, spent = pd.read_csv(data / "responses.csv"), pd.read_csv(data / "transactions.csv")
    answers = answers[(answers.campaign_ix == 2) & (answers.product_id == 0)].assign(sent_at="2025-10-01")
    answers.drop(columns="sent_at").to_csv(data / "responses.csv", index=False)
    takers = answers[answers.label == 1].customer_id
    later = pd.DataFrame({"customer_id": takers, "date": "2025-10-15", "amount": 90_000.0, "mcc": "travel", "channel": "web"})
    pd.concat([spent, later]).to_csv(data / "transactions.csv", index=False)
    with read_answers(data, "upsell") as found:
        assert "monetary" in {item.feature for item in leaks(found.answered())}
    answers.to_csv(data / "responses.csv", index=False)
    with read_answers(data, "upsell") as found:
        assert leaks(found.answered()) == []


def test_a_row_that_is_left_out_takes_no_other_with_it(tmp_path):
    """A blank answer stands before the real one: the real one is kept."""
    odd = "campaign_ix,customer_id,product_id,label\n0,1,10,\n0,1,10,1\n0,1,10,0\n1,2,10,0\n"
    with read_answers(small(tmp_path, responses=odd), "upsell") as answers:
        seen = answers.answered().frame
        found = {item["problem"]: item["rows"] for item in answers.reading.problems}
    assert seen.set_index(["customer", "round"]).taken.to_dict() == {(1, 0): 1, (2, 1): 0}
    assert found == {"no_answer": 1, "duplicate_row": 1}


def test_what_is_usual_may_be_named(tmp_path):
    folder = copy("upsell", tmp_path / "mine")
    features = folder / "features.yaml"
    usual = "\npopulation:\n  usual: {of: monetary, quantile: 0.5, at_least: 2, default: 1, meaning: {en: usual spending}}\n"
    features.write_text(features.read_text() + usual)
    learn = folder / "learn.yaml"
    learn.write_text(learn.read_text().replace("    - city_tier\n", "    - city_tier\n    - usual\n", 1))
    with read_answers(small(tmp_path / "data"), folder) as answers:
        assert answers.answered().frame.usual.notna().all()


def test_a_file_in_another_encoding_still_gives_the_day(tmp_path):
    folder = small(tmp_path)
    path = folder / "transactions.csv"
    path.write_text(path.read_text(), encoding="utf-16")
    assert str(opened(folder)[1].learning.book.as_of) == "2025-02-27"


def test_answers_that_were_not_understood_are_told_with_the_reason(tmp_path):
    words = "campaign_ix,customer_id,product_id,label\n0,1,10,accepted\n1,2,10,declined\n"
    with pytest.raises(DataError, match="2 rows no_answer"), read_answers(small(tmp_path, responses=words), "upsell") as answers:
        answers.answered()
