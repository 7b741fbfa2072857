"""The bank case: the playbook's examples, its plural rules, and the real files where they are at hand."""

import pandas as pd
import pytest
from babel import Locale
from tests.conftest import case

import nextbest
from nextbest.playbook.bind import bound
from nextbest.playbook.load import load
from nextbest.rules.reference import evaluate
from nextbest.services.lint import failed_of


def test_the_playbook_is_sound():
    assert nextbest.check("bank-kz").examples >= 40


@pytest.mark.parametrize(("language", "forms"), [("ru", ["one", "few", "many"]), ("en", ["one", "other"])])
def test_plurals_are_those_of_unicode(language, forms):
    from datetime import date

    rule = bound(load("bank-kz"), date(2025, 8, 31)).plurals[language]
    for n in [*range(0, 130), 1000, 1001, 1011, 1022, 123456]:
        assert forms[int(evaluate(rule, {"n": n})) - 1] == Locale(language).plural_form(n)


def test_the_ten_products_have_their_exact_names():
    names = {offer.name["ru"] for offer in load("bank-kz").model.offers.values()}
    assert names == {
        "Карта для путешествий", "Премиальная карта", "Кредитная карта", "Обмен валют", "Кредит наличными",
        "Депозит Мультивалютный", "Депозит Сберегательный", "Депозит Накопительный", "Инвестиции", "Золотые слитки",
    }  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    data = case("bank-kz")
    return data, nextbest.decide(data, as_of="2025-08-31", out=tmp_path_factory.mktemp("real") / "out")


def test_the_real_case_reads_whole(real):
    _, run = real
    assert run.record["problems"] == []
    assert run.record["counts"]["rows"]["transactions"] == {"read": 9000, "kept": 9000}


def test_the_real_case_scores_as_aimed(real):
    data, run = real
    result = nextbest.score(run.folder, reference=data / "reference.csv")
    assert result.first_right >= 27
    assert result.product >= 19.5
    assert result.message == 20


def test_texts_of_the_real_case_differ_in_what_they_say(real):
    _, run = real
    texts = run.recommendations.push_notification
    assert texts.is_unique
    skeletons = run.messages.groupby("offer").treatment.nunique().sum()
    assert skeletons >= 12


def test_the_reference_is_never_read_by_decide(real, tmp_path):
    """The same bytes come out where reference.csv is not there."""
    data, run = real
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in data.iterdir():
        if path.name != "reference.csv":
            (bare / path.name).symlink_to(path)
    again = nextbest.decide(bare, as_of="2025-08-31", out=tmp_path / "out")
    assert (run.folder / "decisions.parquet").read_bytes() == (again.folder / "decisions.parquet").read_bytes()


def test_english_for_those_who_speak_it(real, tmp_path):
    data, _ = real
    clients = pd.read_csv(data / "clients.csv")
    clients["language"] = "en"
    clients.to_csv(tmp_path / "clients.csv", index=False)
    run = nextbest.decide(data, as_of="2025-08-31", out=tmp_path / "out", tables={"clients": [tmp_path / "clients.csv"]})
    messages = run.messages
    assert messages.message.notna().all() and (messages.language == "en").all()
    assert failed_of(messages.message.tolist(), "bank-kz", "en", "push") == [[]] * len(messages)
