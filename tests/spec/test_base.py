"""A playbook may stand on another: it takes files and offers of its base, and its own entries go first."""

import shutil

import pytest

import nextbest
from nextbest.errors import PlaybookError
from nextbest.playbook.load import load, write


def book(folder, base, **files):
    folder.mkdir()
    (folder / "playbook.yaml").write_text(f"base: {base}\nname: mine\ntitle: {{en: Mine}}\nversion: '1'\n")
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


ALL = "[playbook, features, params, signals, contact, channels, voice]"


def test_own_entries_go_before_the_bases(tmp_path):
    own = "adult_age: {unit: years, values: {2000-01-01: 21}, source: this bank's own rule}\n"
    loaded = load(book(tmp_path / "mine", f"{{playbook: bank-kz, take: {ALL}, offers: [travel-card, gold-bars]}}", params=own))
    assert sorted(loaded.model.offers) == ["gold-bars", "travel-card"]
    assert list(loaded.model.params["adult_age"].values.values()) == [21]
    assert loaded.model.params["fx_eur"] == load("bank-kz").model.params["fx_eur"]
    assert loaded.model.business.name == "mine" and loaded.model.business.currency == "KZT"


def test_a_table_of_the_base_may_get_columns(tmp_path):
    folder = book(tmp_path / "mine", f"{{playbook: bank-kz, take: {ALL}, offers: [gold-bars]}}")
    with (folder / "playbook.yaml").open("a") as file:
        file.write("sources: {clients: {columns: {segment_code: {type: text}, age: {type: number}}}}\n")
    sources, base = load(folder).model.business.sources, load("bank-kz").model.business.sources
    assert list(sources["clients"].columns) == [*base["clients"].columns, "segment_code"]
    assert sources["clients"].columns["age"].type == "number" and sources["transfers"] == base["transfers"]


def test_a_copy_carries_its_base_and_is_the_same_playbook(tmp_path):
    """Whatever becomes of the built-in base later, the copy that a run keeps stays what it was."""
    loaded = load("retail-bank")
    write(loaded, tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.hash == loaded.hash and copy.model == loaded.model
    carried = tmp_path / "copy" / "base" / "params.yaml"
    carried.write_text(carried.read_text().replace("2000-01-01: 18", "2000-01-01: 19"))
    assert load(tmp_path / "copy").hash != loaded.hash


def test_problems_name_the_file_of_the_base(tmp_path):
    folder = book(tmp_path / "mine", f"{{playbook: bank-kz, take: {ALL}, offers: [travel-card, no-such-offer]}}")
    with pytest.raises(PlaybookError) as error:
        load(folder)
    assert "playbook.yaml:1" in str(error.value) and "no-such-offer" in str(error.value)
    shutil.rmtree(folder)
    folder = book(tmp_path / "mine", "{playbook: no-such-bank, take: [params], offers: []}")
    with pytest.raises(PlaybookError) as error:
        load(folder)
    assert "no-such-bank" in str(error.value) and "features.yaml" in str(error.value)


def test_what_is_not_taken_has_to_be_there(tmp_path):
    folder = book(
        tmp_path / "mine", "{playbook: bank-kz, take: [playbook, features, signals, contact, channels, voice], offers: [gold-bars]}"
    )
    with pytest.raises(PlaybookError, match=r"params\.yaml: the file is missing"):
        load(folder)


def test_what_every_offer_asks_is_written_once(tmp_path):
    every = "every_offer: {eligible: {rich: {when: balance > 1000000, else: {en: Not rich, ru: Не богат}}}}\n"
    folder = book(tmp_path / "mine", f"{{playbook: bank-kz, take: {ALL}, offers: [gold-bars, travel-card]}}")
    path = folder / "playbook.yaml"
    path.write_text(path.read_text() + every)
    offers = load(folder).model.offers
    assert all("rich" in offer.eligible and "adult" in offer.eligible for offer in offers.values())


def test_a_bases_offers_bring_what_it_asks_of_every_offer(tmp_path):
    take = "[params, features, signals, segments, contact, channels, voice]"
    own = "every_offer: {eligible: {rich: {when: balance > 1000000, else: {en: Not rich}}}}\n"
    for taken in (take, take.replace("[", "[playbook, ")):
        folder = tmp_path / f"mine{len(taken)}"
        book(folder, f"{{playbook: private-bank, take: {taken}, offers: [insurance]}}")
        path = folder / "playbook.yaml"
        base = (load("private-bank").folder / "playbook.yaml").read_text()
        rest = base[base.index("currency:") : base.index("# What every product asks")] + base[base.index("gap:") :]
        path.write_text(path.read_text() + own + (rest if "playbook," not in taken else ""))
        assert list(load(folder).model.offers["insurance"].eligible) == ["rich", "legal_age", "income", "credit"]


def test_an_offer_without_evidence_is_told(tmp_path):
    own = nextbest.copy("bank-kz", tmp_path / "own")
    path = own / "offers" / "gold-bars.yaml"
    text = path.read_text()
    start = text.index("evidence:")
    path.write_text(text[:start] + text[text.index("messages:") :])
    with pytest.raises(PlaybookError, match="no evidence"):
        nextbest.check(own)


def test_a_signal_with_each_offers_own_number(tmp_path):
    """`p.minimum_income` is declared by offers only: each is measured by its own."""
    own = nextbest.copy("private-bank", tmp_path / "own")
    with pytest.raises(PlaybookError, match="minimum_income"):
        path = own / "offers" / "insurance.yaml"
        path.write_text("\n".join(line for line in path.read_text().splitlines() if "minimum_income" not in line))
        nextbest.check(own)
