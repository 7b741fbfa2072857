"""Check: a playbook's files, rules, texts and worked examples, all problems at once."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from nextbest.errors import PlaybookError, Problem, UsageError
from nextbest.messages import greeting, render
from nextbest.messages.facts import periods
from nextbest.messages.lint import breaks, by_shape, by_text, failed_rules
from nextbest.messages.locale import forms
from nextbest.messages.render import PARTS
from nextbest.messages.template import BUILT_IN, MONTH, literals, names
from nextbest.models.base import known
from nextbest.plan import candidates, contact, features, measures, staging
from nextbest.plan.features import ALONE, SUMMED
from nextbest.plan.measures import PLACE
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook import examples
from nextbest.playbook.bind import PARTIAL, UNKNOWN, Bound, BoundOffer, bound
from nextbest.playbook.bind_learning import BoundOfferLearning, bound_activity_learning, bound_offer_learning, bound_purchase_learning
from nextbest.playbook.load import find, load
from nextbest.playbook.params import latest_start
from nextbest.playbook.shape import missing_texts
from nextbest.playbook.sources import SourceColumn
from nextbest.playbook.speech import LintRule
from nextbest.rules.parse import Rule
from nextbest.rules.render import sql


@dataclass(frozen=True)
class Checked:
    """What a sound playbook holds."""

    name: str
    offers: int
    signals: int
    features: int
    examples: int


def check(playbook: str | Path = "bank-kz", as_of: date | None = None) -> Checked:
    """Validate a playbook and run its worked examples. Raises PlaybookError with every problem found."""
    loaded = load(playbook)
    book = bound(loaded, as_of or latest_start(loaded.model))
    learning = bound_offer_learning(book)
    bound_activity_learning(book)
    bound_purchase_learning(book)
    problems = [*(_model(learning) if learning else []), *examples.failures(book), *_shapes(book), *_messages(book), *_voices(book)]
    if not any(isinstance(problem, _Unwritable) for problem in problems):
        problems += _types(book)
    if problems:
        raise PlaybookError(problems)
    return Checked(book.model.business.name, len(book.offers), len(book.model.signals), len(book.features), examples.count(book))


def copy(playbook: str | Path, folder: str | Path) -> Path:
    """Copy a playbook to a new folder, to start one's own. Raises UsageError where something is there."""
    target = Path(folder)
    if target.exists():
        raise UsageError([Problem(str(target), "there is something here already", "name a new folder")])
    shutil.copytree(find(playbook), target)
    return target


def _model(learning: BoundOfferLearning) -> list[Problem]:
    name, where = learning.model.model, learning.book.loaded.where("learn", "offers", "model")
    return [] if name in known() else [Problem(where, f"there is no model '{name}'", f"one of {', '.join(known())}")]


class _Unwritable(Problem):
    """A problem that leaves a text which cannot be written at all, so that trying to would only fail again."""


def _shapes(book: Bound) -> list[Problem]:
    """Entries that depend on one another: words for periods, lengths, each language, names that only one offer has."""
    problems: list[Problem] = []
    model, where = book.model, book.loaded.where
    for language, voice in model.voices.items():
        for period in ("last_month", "horizon", "monthly"):
            if period not in voice.period:
                problems.append(_Unwritable(where("voices", language, "period"), f"no words for '{period}'", "add them"))
    for name, channel in model.channels.items():
        if channel.length[0] > channel.length[1]:
            problems.append(Problem(where("channels", name, "length"), "the fewest characters are more than the most", "swap them"))
    for path, language in missing_texts(model):
        kind = _Unwritable if path[-1] == "name" else Problem
        problems.append(kind(where(*path), f"no text in {language}", "add one"))
    seen: dict[str, str] = {}
    for name, offer in model.offers.items():
        shown = offer.name.get(model.business.languages[0], name)
        if shown in seen:
            problems.append(Problem(where("offers", name, "name"), f"'{shown}' is also the name of {seen[shown]}", "name one otherwise"))
        seen[shown] = name
    return problems


def _messages(book: Bound) -> list[Problem]:
    """Texts: known facts and forms, every language there, no number that is not a fact, every figure's period named."""
    problems: list[Problem] = []
    known_forms = "text, money, number, percent, or a word or label table of the voice"
    for offer in book.offers:
        path = ("offers", offer.id, "messages")
        for name, fact in offer.model.messages.facts.items():
            for language in book.model.business.languages:
                if fact.form not in forms(book.model.voices[language]):
                    what = f"fact '{name}' has unknown form '{fact.form}' in {language}"
                    problems.append(_Unwritable(book.loaded.where(*path, "facts", name), what, known_forms))
        for part in PARTS:
            for index, option in enumerate(offer.parts[part]):
                where = book.loaded.where(*path, part, str(index), "text")
                for language, wording in option.text.items():
                    problems += _wording(book, offer, language, wording, where)
            for language in book.model.business.languages:
                if not any(language in option.text for option in offer.parts[part]):
                    problems.append(Problem(book.loaded.where(*path, part), f"'{part}' has no text in {language}", "add one"))
    return problems


def _wording(book: Bound, offer: BoundOffer, language: str, wording: str, where: str) -> Iterator[Problem]:
    if language not in book.model.voices:
        yield Problem(where, f"no voice for '{language}'", f"write voice/{language}.yaml or drop the text")
        return
    if re.search(r"[{}]", literals(wording)):
        yield Problem(where, "a brace that is no {fact}", "close it, or write the fact's name in small letters")
    if re.search(r"\d", literals(wording)):
        yield Problem(where, "a number stands in the text itself", "make it a fact, so that its source is known")
    period = {str(name): words for name, words in book.model.voices[language].period.items()}
    for name in names(wording):
        if name in BUILT_IN:
            continue
        if name not in offer.facts:
            yield _Unwritable(where, f"unknown fact '{name}'", f"known: {', '.join([*BUILT_IN, *offer.facts])}")
            continue
        for over in periods(book, offer.facts[name]) - {"now"}:
            said = "{" + MONTH + "}" in wording if over == "last_month" else period[over].lower() in wording.lower()
            if not said:
                words = "{month}" if over == "last_month" else period[over]
                what = f"'{name}' covers the {over.replace('_', ' ')}, and the text does not say so"
                yield Problem(where, what, f"write «{words}» beside it")


def _voices(book: Bound) -> list[Problem]:
    """Each lint rule passes its good texts and fails its bad ones, in the engine that will run it, and all stand together."""
    problems = []
    with duckdb.connect() as connection:
        for language, voice in book.model.voices.items():
            places = {name: book.loaded.where("voices", language, "lint", name) for name in voice.lint}
            own = [problem for name, rule in voice.lint.items() for problem in _rule(connection, rule, places[name])]
            problems += own or _together(connection, book, language)
    return problems


def _rule(connection: duckdb.DuckDBPyConnection, rule: LintRule, where: str) -> list[Problem]:
    problems = []
    for fails, sample in (*((False, item) for item in rule.good), *((True, item) for item in rule.bad)):
        try:
            [(got,)] = connection.execute(f"select {breaks(rule, text(sample))}").fetchall()
        except duckdb.Error as error:
            return [_Unwritable(where, f"pattern is not RE2: {str(error).splitlines()[0]}", "see RE2's syntax")]
        if got is not fails:
            problems.append(Problem(where, f"«{sample}» should {'fail' if fails else 'pass'}", "mend the pattern or the sample"))
    return problems


def _together(connection: duckdb.DuckDBPyConnection, book: Bound, language: str) -> list[Problem]:
    """Patterns are joined into one: a bracket that one leaves open takes in the next."""
    problems: list[Problem] = []
    for channel in book.model.channels:
        parts = ", ".join(part(book.model, language, channel, "'x'") for part in (failed_rules, by_shape, by_text))
        try:
            connection.execute(f"select {parts}")
        except duckdb.Error as error:
            what = f"the patterns for {channel} do not stand together: {str(error).splitlines()[0]}"
            problems.append(
                _Unwritable(book.loaded.where("voices", language, "lint"), what, "each must be whole by itself; see RE2's syntax")
            )
    return problems


def _types(book: Bound) -> list[Problem]:
    """Run the stages for two customers without activity: what an engine cannot type, or cannot compute of them, is said here."""
    business = book.model.business
    with duckdb.connect() as connection:
        for name, source in business.sources.items():
            wanted = [(n, c) for n, c in source.columns.items() if name == business.customers or c.type in ("id", "date", "category")]
            columns = ", ".join(f"{quote(n)} {staging.rule_type(c)}" for n, c in wanted)
            activity = f", {quote(PLACE)} integer" + (
                "" if name == business.customers else ", value double, problem varchar, row_hash ubigint"
            )
            connection.execute(f"create table {quote(name)} ({columns}{activity})")
            if name == business.customers:
                for flag in ("true", "false"):  # a flag may let customers in or keep them out
                    connection.execute(f"insert into {quote(name)} select {', '.join(_sample(column, flag) for _, column in wanted)}, 0")
        for name, kinds in (("history", contact.HISTORY), ("suppressions", contact.SUPPRESSIONS)):
            listed = ", ".join(f"{quote(column)} {kind}" for column, kind in kinds.items())
            connection.execute(f"create table {name} ({quote(book.code)} varchar, {listed})")
        sums = [features.left_alone(book), *_sums(book)]
        moments: contact.Moments = {lane: {None: 0} for lane in book.model.contact.lanes}
        policy = [
            contact.events(book, 0),
            contact.planned(book, moments),
            contact.holding(book),
            contact.contacted(book, moments, explore=0),
        ]
        wide = [features.features(book), features.population(book), features.signals(book), candidates.scored(book)]
        for stage in (
            *sums,
            *wide,
            *policy,
            candidates.decisions(book),
            greeting.addressed(book),
            greeting.greetings(book),
            greeting.greeted(book),
            *_text_stages(book),
        ):
            try:
                connection.execute(f"create or replace table {quote(stage.name)} as {stage.select}")
            except duckdb.Error as error:
                fix = "a rule or fact mixes kinds of values, e.g. text and number"
                return _faulty_rules(book, connection, fix) or [Problem(f"stage {stage.name}", str(error).splitlines()[0], fix)]
    return []


def _faulty_rules(book: Bound, connection: duckdb.DuckDBPyConnection, fix: str) -> list[Problem]:
    """The rules of features and offers that cannot be computed, each by itself, over the stages that could be made."""
    rules: list[tuple[Rule, str, tuple[str, ...]]] = []
    rules += [(rule, SUMMED, ("features", "features", name, "value")) for name, rule in book.features.items()]
    for offer in book.offers:
        for group, entry in ((offer.eligible, "eligible"), (offer.suitable, "suitable"), (offer.terms, "benefit.terms")):
            rules += [(rule, "signals", ("offers", offer.id, *entry.split("."), name)) for name, rule in group.items()]
    problems = []
    for rule, over, path in rules:
        try:
            connection.execute(f"select {sql(rule, 'duckdb')} from {quote(over)}")
        except duckdb.CatalogException:
            pass  # it stands on a stage that could not be made
        except duckdb.Error as error:
            what = str(error).splitlines()[0]
            problems += [] if "not found in FROM" in what else [Problem(book.loaded.where(*path), what, fix)]
    return problems


def _sample(column: SourceColumn, flag: str) -> str:
    """SQL: a value that the column may have; the code follows from the flag."""
    kinds = {"integer": "1", "number": "1", "money": "1", "flag": flag, "date": "'2000-01-01'", "list": "['x']", "id": text(flag)}
    return kinds.get(column.type, text(next(iter(column.values), "x")))


def _sums(book: Bound) -> list[Stage]:
    customers = book.model.business.customers
    coded = [measures.coded(book, name).select for name in book.model.business.sources if name != customers]
    cells = [cell for needed in book.cells.values() for cell in needed]
    figures = ", ".join(f"cast({'null' if cell.of in UNKNOWN else '0'} as double) as {quote(cell.column)}" for cell in cells)
    key = quote(book.code)
    alone = f"{key} in (select {key} from left_alone) as {quote(ALONE)}"
    partial = f"cast([] as varchar[]) as {quote(PARTIAL)}"
    summed = f"select *, {', '.join(filter(None, (alone, figures, partial)))} from {quote(customers)}"
    return [*(Stage("coded", "one row", select) for select in coded), Stage(SUMMED, "one customer", summed)]


def _text_stages(book: Bound) -> Iterator[Stage]:
    for place, offer in enumerate(book.offers, 1):
        for language in book.model.business.languages:
            yield Stage(f"messages of {offer.id} in {language}", "none", render.texts(book, place, language))
