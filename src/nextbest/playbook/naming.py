"""What names in a playbook must be like: each means one thing, and what is named exists."""

import re
from collections.abc import Callable

from sqlglot import exp

from nextbest.playbook.model import Business, Playbook
from nextbest.rules.parse import RuleError, Scope, did_you_mean, parse

Say = Callable[..., None]
"""Told what is wrong, how to mend it, and the path of the entry."""


RESERVED = frozenset(
    [
        "addressed",
        "answered",
        "answers",
        "consents",
        "contacted",
        "decided",
        "decisions",
        "doubled",
        "events",
        "everyone",
        "features",
        "filled",
        "forecast",
        "forecast_part",
        "forgotten",
        "greeted",
        "greetings",
        "held",
        "history",
        "holding",
        "left_alone",
        "messages",
        "objecting",
        "opened",
        "past",
        "places",
        "planned",
        "population",
        "products",
        "records",
        "refusals",
        "refused",
        "rejects",
        "remembered",
        "rewritten",
        "scored",
        "segments",
        "shapes",
        "signals",
        "summed",
        "suppressions",
        "turn",
    ]
)
"""The stages' own tables: no source may have such a name."""


def takes_own_numbers(model: Playbook, signal: str) -> bool:
    """Whether the signal names a parameter that only offers declare."""
    try:
        named = {column.name for column in parse(str(model.signals[signal].strength)).find_all(exp.Column) if column.table == "p"}
    except RuleError:
        return False
    of_offers = {name for offer in model.offers.values() for name in offer.params}
    return bool((named - model.params.keys() - {"months"}) & of_offers)


def check_names(model: Playbook, base: Scope, say: Say) -> None:
    """One name, one meaning: what a rule may name must not exist twice."""
    seen = set(base.columns) | set(base.measures)
    groups = (
        ("features", "features", model.features.features),
        ("features", "population", model.features.population),
        ("segments", "", model.segments),
        ("signals", "", model.signals),
    )
    for file, group, names in groups:
        for name in names:
            if name in seen:
                say(f"the name '{name}' is taken", "rename one of them", *filter(None, (file, group, name)))
            seen.add(name)
    business = model.business
    for name in RESERVED & business.sources.keys():
        say(f"'{name}' is the name of a stage's own table", "name the source otherwise", "business", "sources", name)
    for name, source in business.sources.items():
        if source.made_of and (name != business.customers or source.made_of not in business.sources.keys() - {name}):
            say(
                f"'{name}' cannot be made of '{source.made_of}'",
                "only customers can, of an activity table",
                "business",
                "sources",
                name,
                "made_of",
            )
    if business.sources[business.customers].optional:
        say("there are always customers", "only an activity table may be optional", "business", "sources", business.customers, "optional")
    for currency, param in business.currencies.items():
        if param is not None and param not in model.params:
            say(f"unknown parameter '{param}'", "declare it in params.yaml", "business", "currencies", currency)
    _signs(business, say)
    for name, item in model.features.population.items():
        if item.of not in model.features.features:
            say(f"unknown feature '{item.of}'", "name a feature", "features", "population", name)
    if business.worth:
        if (business.worth.recency is None) != (business.worth.frequency is None):
            say("recency and frequency make a grid together", "name both, or neither", "business", "worth")
        for entry, name in business.worth.names.items():
            column = business.sources[business.customers].columns.get(name)
            if column is None and name not in model.features.features:
                say(f"unknown feature '{name}'", did_you_mean(name, model.features.features), "business", "worth", entry)
            elif (column and column.type not in ("integer", "number", "money")) or (column and entry == "at_risk"):
                say(f"'{name}' is no number", "name a feature of features.yaml", "business", "worth", entry)
    for name, segment in model.segments.items():
        for typical in segment.offers:
            if typical not in model.offers:
                say(f"unknown offer '{typical}'", did_you_mean(typical, model.offers), "segments", name, "offers")
    for name, signal in model.signals.items():
        if signal.examples and takes_own_numbers(model, name):
            say("its numbers are each offer's own", "put the examples into the offers", "signals", name, "examples")
    for name, offer in model.offers.items():
        if "evidence" not in offer.model_fields_set:
            say("no evidence says how likely it is", "write `evidence`, here or under every_offer", "offers", name)
        if offer.id != name:
            say(f"the file is {name}.yaml, the id '{offer.id}'", "make them the same", "offers", name, "id")
    for language in business.languages:
        if language not in model.voices:
            say(f"no voice/{language}.yaml", "write the voice or drop the language", "business", "languages")
    if business.channel not in model.channels:
        say(f"unknown channel '{business.channel}'", "declare it in channels.yaml", "business", "channel")
    for language, voice in model.voices.items():
        for name, rule in voice.lint.items():
            for channel in rule.channels:
                if channel not in model.channels:
                    say(f"unknown channel '{channel}'", did_you_mean(channel, model.channels), "voices", language, "lint", name, "channels")
    for name in business.defaults:
        if name not in base.columns:
            say(f"'{name}' is not a customer column", "declare it in sources", "business", "defaults", name)


def _signs(business: Business, say: Say) -> None:
    """Each sign is of one currency, and that currency is met."""
    listed = {value for source in business.sources.values() if "currency" in source.columns for value in source.columns["currency"].values}
    for currency, signs in business.signs.items():
        if currency not in business.currencies.keys() & {business.currency, *listed}:
            fix = "name it in `currencies` and among the values of a column `currency`, or write `signs` without it"
            say(f"no table has amounts in '{currency}'", fix, "business", "signs", currency)
        others = {sign.lower() for other, among in business.signs.items() if other != currency for sign in among}
        for sign in signs:
            if not re.fullmatch(r"[^\d\s.,+'−-]+\.?", sign) or sign.lower() in others:
                fix = "each sign is of one currency, and has nothing in it that a number has, but for a point at its end"
                say(f"'{sign}' cannot be a sign of '{currency}'", fix, "business", "signs", currency)
