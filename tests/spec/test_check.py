"""check tells every problem of a playbook at once, each with its file and line."""

import pytest

import nextbest
from nextbest.errors import PlaybookError, UsageError


@pytest.fixture
def own(tmp_path):
    return nextbest.copy("bank-kz", tmp_path / "mine")


def edit(folder, name, old, new):
    path = folder / name
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    return content[: content.index(old)].count("\n") + 1


def problems(folder):
    with pytest.raises(PlaybookError) as error:
        nextbest.check(folder)
    return [str(problem) for problem in error.value.problems]


def test_a_copy_is_sound_and_a_second_copy_refused(own):
    assert nextbest.check(own).offers == 10
    with pytest.raises(UsageError):
        nextbest.copy("bank-kz", own)


def test_all_problems_at_once_with_file_and_line(own):
    first = edit(own, "offers/travel-card.yaml", "p.rate * spend['Такси']", "p.rat * spend['Такси']")
    second = edit(own, "signals.yaml", "visits['Отели', 'Путешествия'], 1, 4", "visits['Отель'], 1, 4")
    third = edit(own, "offers/gold-bars.yaml", "signals: {gold: 6", "signals: {golden: 6")
    found = problems(own)
    assert any(f"offers/travel-card.yaml:{first} " in p and "did you mean rate" in p for p in found)
    assert any(f"signals.yaml:{second} " in p and "Отели" in p for p in found)
    assert any(f"offers/gold-bars.yaml:{third} " in p and "unknown signal 'golden'" in p for p in found)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("playbook.yaml", "top: 4", "topp: 4", "topp"),
        ("playbook.yaml", "top: 4", "top: [", "not valid YAML"),
        ("params.yaml", "adult_age:", "adult_age: {unit: a}\nadult_age:", "stands twice"),
        ("offers/gold-bars.yaml", "id: gold-bars", "id: gold", "make them the same"),
        ("offers/gold-bars.yaml", "Посмотреть слитки.", "Посмотреть 5 слитков.", "a number stands in the text"),
        ("offers/gold-bars.yaml", "{greet}{month} вы купили золота", "{greet}вы купили золота", "does not say so"),
        ("offers/gold-bars.yaml", "{bought_lm}", "{bougth_lm}", "unknown fact"),
        ("offers/gold-bars.yaml", "benefit: 4000", "benefit: 4001", "expected 4001"),
        ("offers/multicurrency-deposit.yaml", "as: operation", "as: opera", "unknown form"),
        ("offers/gold-bars.yaml", "age >= p.adult_age", "name + 1 > 2", "gold-bars.yaml:7"),
        ("signals.yaml", "expect: {strength: 0}", "expect: {strength: 1}", "expected 1"),
        ("features.yaml", 'value: "outgoings - inflow"', 'value: "cash_gap - inflow"', "circle"),
        ("voice/ru.yaml", "channels: [push, app, email]", "channels: [pusch]", "unknown channel 'pusch'"),
        ("voice/ru.yaml", 'bad: ["Ура! Вам карта!"]', 'bad: ["Ура!"]', "should fail"),
        ("voice/ru.yaml", "forbid: ['(?i)(^|[^\\p{L}])(круто", "forbid: ['(?i)((^|[^\\p{L}])(круто", "not RE2"),
        ("voice/ru.yaml", "    require: '\\p{Nd}'\n", "", "the rule looks for nothing"),
        ("voice/ru.yaml", "    require: '\\p{Nd}'\n", "    require: ''\n", "at least 1 character"),
        ("voice/ru.yaml", "  says_a_figure:", "  length:", "every voice has a rule 'length' of its own"),
        ("voice/ru.yaml", ", en: The text has at least one figure", "", "no text in en"),
        ("playbook.yaml", "fx_eur,", "fx_euro,", "unknown parameter"),
        ("playbook.yaml", "USD: [$, US$, USD]", "GBP: [£]", "no table has amounts in 'GBP'"),
        ("playbook.yaml", "USD: [$, US$, USD]", "USD: [€]", "'€' cannot be a sign of 'USD'"),
        ("playbook.yaml", "USD: [$, US$, USD]", "USD: [$, 1$]", "'1$' cannot be a sign of 'USD'"),
        ("playbook.yaml", "USD: [$, US$, USD]", "USD: []", "at least 1 item"),
        ("playbook.yaml", "names: [валюта], values: [KZT, EUR, USD, RUB]}", "names: [валюта]}", "'currency' is no category with values"),
        ("playbook.yaml", "      amount: {type: money", "      summa: {type: money", "needs a column 'amount' of type money"),
        ("playbook.yaml", "      date: {type: date", "      date: {type: text", "'date' is of type date"),
        ("playbook.yaml", "client_code: {type: id", "client_code: {type: text", "no column is of type id"),
        ("playbook.yaml", "age: {type: integer", "age: {type: text", "yaml:"),
        ("voice/ru.yaml", "ride: [поездка, поездки, поездок]", "ride: [поездка, поездок]", "'ride' has 2 forms, ru has 3"),
        ("offers/gold-bars.yaml", ", en: Gold bars", "", "no text in en"),
        ("signals.yaml", ", en: ", ", kk: ", "no text in en"),
        ("offers/gold-bars.yaml", "age >= p.adult_age", "status = 5", "gold-bars.yaml:7"),
    ],
)
def test_one_fault(own, name, old, new, says):
    edit(own, name, old, new)
    assert any(says in problem for problem in problems(own)), problems(own)


def test_a_pattern_that_is_none_is_told_once(own):
    edit(own, "voice/ru.yaml", "require: '\\p{Nd}'", "require: '('")
    [problem] = problems(own)
    assert "pattern is not RE2: Invalid Input Error: missing ): (" in problem


def test_a_file_that_nothing_reads_and_one_that_is_not_utf8_are_told(own):
    (own / "offers" / "gold-bars.yaml").rename(own / "offers" / "gold-bars.yml")
    path = own / "offers" / "investments.yaml"
    path.write_bytes(path.read_text().encode("cp1251"))
    assert [problem.split(":")[0] for problem in problems(own)] == ["offers/gold-bars.yml", "offers/investments.yaml"]


@pytest.mark.parametrize(
    ("playbook", "name", "old", "new", "says"),
    [
        ("upsell", "learn.yaml", "model: logistic", "model: logistics", "there is no model 'logistics'"),
        ("upsell", "playbook.yaml", "score: lever * propensity", "score: \"'high'\"", "stage scored"),
        ("upsell", "offers/credit-card.yaml", "learned_error: error_cc", "learned_error: segment", "stage scored"),
        ("upsell", "learn.yaml", "    - city_tier\n", "    - city_tyre\n", "unknown feature 'city_tyre'"),
        ("shop", "features.yaml", "count: months_seen", "count: months_seen, over: last_month", "have no date"),
        ("shop", "learn.yaml", "falls: Снизилась", "falls: Упала", "Прежний уровень"),
    ],
)
def test_one_fault_of_learning(tmp_path, playbook, name, old, new, says):
    own = nextbest.copy(playbook, tmp_path / "mine")
    edit(own, name, old, new)
    assert any(says in problem for problem in problems(own)), problems(own)


def test_a_missing_file_and_an_unknown_playbook(own):
    (own / "contact.yaml").unlink()
    assert any("contact.yaml" in problem for problem in problems(own))
    with pytest.raises(UsageError, match="bank-kz"):
        nextbest.check("no-such-playbook")


def test_a_day_before_any_value_is_told(own):
    from datetime import date

    from nextbest.services.check import check

    with pytest.raises(PlaybookError, match="no value on 2020-01-01"):
        check(own, as_of=date(2020, 1, 1))


def test_a_new_offer_needs_no_python(own, tmp_path):
    """Ten minutes' work: copy an offer file, change it, run."""
    text = (own / "offers" / "gold-bars.yaml").read_text()
    text = (
        text.replace("id: gold-bars", "id: silver-bars").replace("Золотые слитки", "Серебряные слитки").replace("Gold bars", "Silver bars")
    )
    (own / "offers" / "silver-bars.yaml").write_text(text)
    assert nextbest.check(own).offers == 11
    data = nextbest.synth(5, out=tmp_path / "data")
    run = nextbest.decide(data, own, as_of="2025-08-31", out=tmp_path / "out")
    assert "silver-bars" in set(run.decisions.offer)
