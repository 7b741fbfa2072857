"""A greeting in a text: no rule is broken by whose name it is, and nobody's text depends on anybody else's name."""

import pandas as pd
import pytest

import nextbest
from nextbest.services.lint import failed_of

NAMES = ["Анна", "Анна-Мария", "Я", "Мария Луиза", "ЖАННА", "О'Нил", "Вы", "Гүлнәр", "Ким Чен Ир", "анна", "", None]


@pytest.fixture
def strict(tmp_path):
    """A bank's own voice: at most three capitals in a text, whose name is one of them; and a name of one letter asks for «вы»."""
    book = nextbest.copy("bank-kz", tmp_path / "strict")
    voice = book / "voice" / "ru.yaml"
    rule = "meaning: {ru: Мало прописных, en: Few capitals}"
    few = f"lint:\n  few_capitals:\n    dimension: tone\n    {rule}\n    at_most: {{'\\p{{Lu}}': 3}}\n    bad: [\"А Б В Г\"]\n"
    voice.write_text(voice.read_text().replace("lint:\n", few, 1))
    return book


def texts(book, data, folder, names):
    clients = pd.read_csv(data / "clients.csv").head(len(names)).assign(name=names, language="ru")
    own = folder / "data"
    own.mkdir(parents=True)
    clients.to_csv(own / "clients.csv", index=False)
    for table in ("transactions", "transfers"):
        pd.read_csv(data / f"{table}.csv").merge(clients[["client_code"]]).to_csv(own / f"{table}.csv", index=False)
    run = nextbest.decide(own, book, as_of="2025-08-31", out=folder / "out")
    return dict(zip(run.messages.client_code, run.messages.message.fillna(""), strict=True))


def test_no_text_breaks_a_rule_through_its_name(strict, tmp_path):
    data = nextbest.synth(40, out=tmp_path / "bank", seed=3)
    names = (NAMES * 4)[:40]
    found = texts(strict, data, tmp_path / "one", names)
    said = [text for text in found.values() if text]
    assert len(said) > 20
    assert failed_of(said, strict, "ru", "push") == [[]] * len(said)
    assert any(text.startswith("Анна, ") for text in said) and not any(text.startswith("Анна-Мария, ") for text in said)


def test_nobodys_text_depends_on_anothers_name(strict, tmp_path):
    data = nextbest.synth(24, out=tmp_path / "bank", seed=3)
    names = (NAMES * 2)[:24]
    together = texts(strict, data, tmp_path / "all", names)
    plain = texts(strict, data, tmp_path / "plain", ["Анна"] * 24)
    assert {code for code, name in zip(together, names, strict=True) if name == "Анна" and together[code] != plain[code]} == set()
    nameless = texts(strict, data, tmp_path / "none", [None] * 24)
    double = {code for code, name in zip(together, names, strict=True) if name == "Анна-Мария"}
    assert double and {code: together[code] for code in double} == {code: nameless[code] for code in double}
