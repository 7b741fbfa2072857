"""The editorial linter on anyone's texts."""

import itertools
import random
import subprocess
import sys

import duckdb
import pytest

from nextbest.errors import DataError, UsageError
from nextbest.messages import lint as rules
from nextbest.playbook.load import load
from nextbest.playbook.speech import LintRule, Tokens
from nextbest.services.lint import failed_of, lint

GOOD = (
    "Асель, в августе у вас 27 поездок на такси на 31 400 ₸. Карта для путешествий возвращает 4% за такси, отели и билеты: "
    "при таких тратах это около 1 200 ₸ в месяц сверх вашего кешбэка. Оформить карту."
)


def broken(text: str, channel: str = "push") -> set[str]:
    return set(failed_of([text], "bank-kz", "ru", channel)[0])


def test_a_good_text_passes():
    assert broken(GOOD) == set()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("27 поездок", "27 поездки"), "agreement"),
        (("27 поездок", "1 поездок"), "agreement"),
        (("27 поездок", "2 поездок"), "agreement"),
        (("27 поездок", "11 поездка"), "agreement"),
        (("27 поездок", "121 поездок"), "agreement"),
        (("в августе", "в август"), "month_case"),
        (("у вас", "у Вас"), "vy_in_lower_case"),
        (("31 400 ₸", "31400 ₸"), "grouped_thousands"),
        (("31 400 ₸", "31,400 ₸"), "grouped_thousands"),
        (("31 400 ₸", "2490 ₸"), "grouped_thousands"),
        (("31 400 ₸", "31 400₸"), "sign_apart"),
        (("31 400 ₸", "₸ 31 400"), "sign_apart"),
        (("31 400 ₸", "31 400 тг"), "sign_of_the_app"),
        (("4%", "4.5%"), "decimal_comma"),
        (("Карта", "КАРТА"), "no_capitals"),
        (("кешбэка.", "кешбэка!!"), "at_most_one_exclamation"),
        (("Оформить карту.", "Оформить."), "one_call_to_action"),
        (("Оформить карту.", "Ждём вас в гости."), "one_call_to_action"),
        (("возвращает", "гарантированно возвращает"), "no_promised_returns"),
        (("Карта для путешествий", "Уникальная карта"), "no_loud_promises"),
        (("Оформить карту.", "Успейте сегодня. Оформить карту."), "no_pressure"),
        (("возвращает", "осуществляет возврат"), "no_bureaucratese"),
        (("возвращает 4%", "4% будет начислено"), "no_passive"),
        (("на такси", "на Такси"), "category_names"),
        (("в августе", "с 2025-08-01"), "dates"),
        (("в августе", "с 01/08/2025"), "dates"),
        (("31 400", "{taxi}"), "tidy"),
        (("Асель, ", ""), "length"),
    ],
)
def test_one_fault_is_found_by_its_rule(change, rule):
    old, new = change
    assert old in GOOD
    text = GOOD.replace(old, new)
    if rule == "length":
        text = text[:150]
    assert rule in broken(text)


@pytest.mark.parametrize("language", ["ru", "en"])
def test_rules_of_a_shape_and_rules_of_a_text_find_together_what_all_find(language):
    """Every text that a rule gives as good or bad, in a text of the right length, and with digits of chance."""
    book, chance = load("bank-kz").model, random.Random(0)
    texts = [text for rule in book.voices[language].lint.values() for text in (*rule.good, *rule.bad)] + [GOOD]
    texts += [f"{text} {GOOD}"[: chance.randrange(150, 250)] for text in texts]
    texts += ["".join(str(chance.randrange(10)) if c.isdigit() else c for c in text) for text in texts * 20]
    every, shape, own = (part(book, language, "push", "t") for part in (rules.failed_rules, rules.by_shape, rules.by_text))
    found = duckdb.sql(f"select {every}, {shape}, {own} from (select unnest($texts) as t)", params={"texts": texts}).fetchall()
    assert len(found) == len(texts) and all(sorted(both) == sorted([*a, *b]) for both, a, b in found)
    assert sum("only_years_in_four_digits" in b for *_, b in found) > 10 and any("agreement" in b for *_, b in found)


@pytest.mark.parametrize(
    "rule",
    [
        LintRule(dimension="tone", meaning={"en": "-"}, bad=["7"], forbid=["(?i)a7", "^B"]),
        LintRule(dimension="tone", meaning={"en": "-"}, bad=["-"], require="7"),
        LintRule(dimension="tone", meaning={"en": "-"}, bad=["77"], at_most={"7": 1, "b": 0}),
        LintRule(dimension="tone", meaning={"en": "-"}, bad=["70"], tokens=Tokens(find="7[0-9]", allow=["71"])),
        LintRule(dimension="tone", meaning={"en": "-"}, bad=["70"], tokens=Tokens(find="(?i)x7[0-9]?", allow_pattern="X7.*")),
    ],
)
def test_no_kind_of_rule_slips_by_the_first_look(rule):
    """Of a rule that names a digit, against short texts of all kinds and lengths."""
    book = load("bank-kz").model
    voice = book.voices["ru"].model_copy(update={"lint": {"made_up": rule}})
    book = book.model_copy(update={"voices": {"ru": voice}})
    texts = ["".join(letters) * 50 for letters in itertools.product("aAbBxX71", repeat=4)]
    every, own = (part(book, "ru", "push", "t") for part in (rules.failed_rules, rules.by_text))
    found = duckdb.sql(f"select {every}, {own} from (select unnest($texts) as t)", params={"texts": texts}).fetchall()
    assert all(a == b for a, b in found) and {True, False} == {"made_up" in a for a, _ in found}


def test_abbreviations_and_other_channels():
    assert "no_capitals" not in broken(GOOD.replace("такси на", "АЗС на"))
    assert "sign_of_sms" in broken("У вас 5 поездок на 500 ₸. Оформить карту.", "sms")
    assert broken("У вас 5 поездок на 500 тг. Оформить карту.", "sms") == set()


def test_a_file_of_texts(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text(f'client_code;push_notification\n1;"{GOOD}"\n2;"СКИДКА!!!"\n3;\n', encoding="utf-8-sig")
    result = lint(path, voice="ru", channel="push")
    assert [(item.line, bool(item.failed)) for item in result.texts] == [(1, False), (2, True)]
    assert result.blank == 1 and not result.clean  # a row without a text breaks no rule of texts


def test_what_is_missing_is_said(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column"):
        lint(path, voice="ru", channel="push")
    with pytest.raises(UsageError) as error:
        lint(tmp_path / "none.csv", voice="fr", channel="fax")
    assert len(error.value.problems) == 3


def test_the_command_ends_with_one_where_a_text_is_broken(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text\nСКИДКА!!!\n")
    command = [sys.executable, "-m", "nextbest", "lint", str(path), "--voice", "ru", "--channel", "push"]
    assert subprocess.run(command, capture_output=True).returncode == 1
