"""The rule language: what a rule may say, and what it is told when it says something else."""

import pytest

from nextbest.rules.parse import RuleError, Scope, bind
from nextbest.rules.reference import evaluate

SCOPE = Scope(frozenset({"age", "balance"}), {"spend": ("Такси", "Отели")}, {"adult_age": 18})


@pytest.mark.parametrize(
    ("rule", "row", "value"),
    [
        ("age >= p.adult_age", {"age": 18}, True),
        ("age >= p.adult_age", {"age": None}, None),
        ("spend['Такси', 'Отели']", {"spend[Такси]": 1.0, "spend[Отели]": 2.0}, 3.0),
        ("ratio(balance, 0)", {"balance": 5.0}, 0.0),
        ("ramp(age, 20, 40)", {"age": 30}, 0.5),
        ("case when age < 25 then 'young' else 'old' end", {"age": 20}, "young"),
        ("top_key(spend, 1)", {"spend[Такси]": 1.0, "spend[Отели]": 2.0}, "Отели"),
        ("top_key(spend, 2)", {"spend[Такси]": 0.0, "spend[Отели]": 2.0}, None),
        ("age between 18 and 30 and not balance is null", {"age": 20, "balance": 1.0}, True),
        ("round(balance / 3, 1)", {"balance": 10.0}, 3.3),
        ("case when age > 5 then '1' else 0 end", {"age": 9}, "1"),
    ],
)
def test_a_rule_has_a_value(rule, row, value):
    assert evaluate(bind(rule, SCOPE), row) == value


@pytest.mark.parametrize(
    ("rule", "what", "fix"),
    [
        ("agee > 3", "unknown name 'agee'", "did you mean age?"),
        ("p.adult > 3", "unknown parameter 'p.adult'", "adult_age"),
        ("spend['Такс'] > 0", "spend has no 'Такс'", "Такси"),
        ("spend > 0", "'spend' needs a key", "spend['Такси']"),
        ("read_text('/etc/passwd')", "unknown function 'read_text'", ""),
        ("getenv('HOME')", "unknown function 'getenv'", ""),
        ("(select max(age) from clients) > 1", "outside the rule language", ""),
        ("age > 1; drop table clients", "not one expression", ""),
        ("drop table clients", "outside the rule language", ""),
        ("age::varchar", "unknown function 'cast'", ""),
        ("1 +", "not a valid expression", ""),
        ("ramp(age, 1)", "ramp takes 3 values, 2 given", "ramp(value, low, high)"),
        ("round(age, 1, 2)", "round takes", ""),
        ("least(age)", "least takes", ""),
        ("abs(spend)", "'spend' needs a key", ""),
        ("top_sum(spend, 2.5)", "whole number", ""),
        ("spend[1]", "a key of spend is text", "spend['Такси']"),
        ("x.p.adult_age", "not a name here", ""),
        ("clients.age > 1", "not a name here", ""),
        ("p.spend['Такси'] > 1", "unknown measure 'p.spend'", ""),
        ("top_sum(p.spend, 2) > 1", "'p.spend' is none", ""),
        ("top_key(p.spend, 1) = 'Такси'", "'p.spend' is none", ""),
        ("count(*) > 1", "", ""),
        ("age in (select 1)", "", ""),
        ("case when age > 30 then 'a' else 1 end", "'case' gives a number or text", "one kind"),
        ("case when age > 30 then case when age > 40 then 1 end else 'a' end", "'case' gives a number or text", "one kind"),
        ("coalesce('a', p.adult_age)", "'coalesce' gives a number or text", "one kind"),
        ("greatest('a', (age > 1))", "'greatest' gives text or true or false", "one kind"),
    ],
)
def test_a_rule_outside_the_language_is_refused(rule, what, fix):
    with pytest.raises(RuleError) as error:
        bind(rule, SCOPE)
    assert what in error.value.what
    assert fix in error.value.fix
