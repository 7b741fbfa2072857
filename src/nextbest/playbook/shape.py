"""What a playbook's entries must have beside their own types: columns that tables need, forms of words, each language."""

from collections.abc import Iterator

from nextbest.playbook.load import Place
from nextbest.playbook.model import Playbook
from nextbest.playbook.naming import Say
from nextbest.playbook.speech import AGREEMENT, LENGTH


def check_shape(model: Playbook, say: Say) -> None:
    """Tell the columns and forms of words that are missing."""
    _tables(model, say)
    _words(model, say)
    _rules(model, say)


def missing_texts(model: Playbook) -> Iterator[tuple[Place, str]]:
    """Path and language of each text that is missing, of what is said to whoever reads a decision."""
    for path, texts in _texts(model):
        yield from ((path, language) for language in model.business.languages if language not in texts)


def _tables(model: Playbook, say: Say) -> None:
    business = model.business
    for name, source in business.sources.items():
        path = ("business", "sources", name, "columns")
        if not source.code:
            say("no column is of type id", "say of one that it holds the customer's code: {type: id, …}", *path)
        if name == business.customers:
            continue
        if "amount" not in source.columns or source.columns["amount"].type not in ("money", "number", "integer"):
            fix = "call it amount, of type money, and the header of your files in its `names`"
            say("an activity table needs a column 'amount' of type money", fix, *path)
        if (currency := source.columns.get("currency")) and not (currency.type == "category" and currency.values):
            say("the column 'currency' is no category with values", "write {type: category, values: […]}", *path, "currency")
        if "date" in source.columns and source.columns["date"].type != "date":
            say("the column 'date' is of type date", "write {type: date, …}", *path, "date")


def _words(model: Playbook, say: Say) -> None:
    for language, voice in model.voices.items():
        wanted = len(voice.plural_patterns)
        for word, forms in voice.words.items():
            if len(forms) != wanted:
                say(f"'{word}' has {len(forms)} forms, {language} has {wanted}", "write all of them", "voices", language, "words", word)


def _rules(model: Playbook, say: Say) -> None:
    for language, voice in model.voices.items():
        for name, rule in voice.lint.items():
            path = ("voices", language, "lint", name)
            if name in (LENGTH, AGREEMENT):
                say(f"every voice has a rule '{name}' of its own", "call this one otherwise", *path)
            if not (rule.forbid or rule.require or rule.at_most or rule.tokens):
                say("the rule looks for nothing", "write `forbid`, `require`, `at_most` or `tokens`", *path)


def _texts(model: Playbook) -> Iterator[tuple[Place, dict[str, str]]]:
    """Path, and language → text."""
    for name, feature in model.features.features.items():
        yield ("features", "features", name, "meaning"), feature.meaning
    for name, usual in model.features.population.items():
        yield ("features", "population", name, "meaning"), usual.meaning
    for name, measure in model.features.measures.items():
        yield ("features", "measures", name, "meaning"), measure.meaning
    for name, signal in model.signals.items():
        yield ("signals", name, "meaning"), signal.meaning
    for name, segment in model.segments.items():
        yield ("segments", name, "meaning"), segment.meaning
    for language, voice in model.voices.items():
        for name, asked in voice.lint.items():
            yield ("voices", language, "lint", name, "meaning"), asked.meaning
    for offer in model.offers.values():
        path = ("offers", offer.id)
        yield (*path, "name"), offer.name
        for kind, rules in (("eligible", offer.eligible), ("suitable", offer.suitable)):
            for name, rule in rules.items():
                yield (*path, kind, name, "else"), rule.reason
        for name, term in offer.benefit.terms.items():
            yield (*path, "benefit", "terms", name, "meaning"), term.meaning
        if offer.benefit.today:
            yield (*path, "benefit", "today", "meaning"), offer.benefit.today.meaning
