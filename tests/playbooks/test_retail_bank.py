"""Another catalogue over the tables of bank-kz, standing on that playbook."""

import pandas as pd
import pytest
from tests.conftest import case

import nextbest
from nextbest.playbook.load import load


def test_the_playbook_is_sound():
    assert nextbest.check("retail-bank").examples >= 60


def test_the_ten_products_have_their_exact_names():
    assert {offer.name["ru"] for offer in load("retail-bank").model.offers.values()} == {
        "Депозит Сберегательный", "Кредит наличными", "Карта для путешествий", "Карта для геймеров", "Карта с кэшбэком на все",
        "Карта с кэшбэком на топ-3 категории", "Премиальная карта", "Мультивалютный счет", "Карта с бесплатными переводами", "Ипотека",
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retail")
    nextbest.synth(300, out=folder / "data", seed=3, rows_per_customer=240, playbook="retail-bank")
    return nextbest.decide(folder / "data", "retail-bank", as_of="2025-08-31", out=folder / "out"), pd.read_csv(folder / "data/truth.csv")


def test_each_kind_of_customer_gets_what_was_made_for_it(made):
    run, truth = made
    first = run.decisions[run.decisions["rank"] == 1].merge(truth, on="client_code")
    assert (first.offer_x == first.offer_y).mean() >= 0.9
    assert first[first.offer_x == first.offer_y].offer_x.nunique() == 10


def test_everyone_with_an_offer_gets_a_text_that_passes_the_linter(made):
    run, _ = made
    assert run.messages.message.notna().all()
    assert not run.messages.failed.map(len).any()


def test_english_too(made, tmp_path):
    run, _ = made
    data = run.folder.parent / "data"
    clients = pd.read_csv(data / "clients.csv").assign(language="en")
    clients.to_csv(tmp_path / "clients.csv", index=False)
    again = nextbest.decide(data, "retail-bank", as_of="2025-08-31", out=tmp_path / "out", tables={"clients": tmp_path / "clients.csv"})
    assert again.messages.message.notna().all() and (again.messages.language == "en").all()


def test_the_real_files_of_the_other_bank_fit_too(tmp_path):
    run = nextbest.decide(case("bank-kz"), "retail-bank", as_of="2025-08-31", out=tmp_path / "out")
    assert run.messages.message.notna().all()
    assert run.recommendations["product"].nunique() >= 5
