"""Choose and write one message per customer: the richest wording of each part that is true and fits together.

All customers with the same first offer and language are written in one pass. A text that the linter refuses
is tried again with the next wording, for those customers only.
"""

from itertools import product

from sqlglot import exp

from nextbest.messages import lint
from nextbest.messages.facts import PERIODS, periods
from nextbest.messages.locale import written
from nextbest.messages.template import GREET, MONTH, concatenation, length, names
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import Bound, BoundOffer
from nextbest.playbook.window import last_month
from nextbest.rules.parse import Rule
from nextbest.rules.render import tree

PARTS = ("observe", "help", "act")
NAME = r"^\p{L}[\p{L}''’ʼ-]*( \p{L}[\p{L}''’ʼ-]*){0,2}$"
"""A name fit to greet by: letters, apostrophes and hyphens, at most three words."""


@once
def addressed(bound: Bound) -> Stage:
    """Who gets a message of which offer, in which language. Grain: one customer with a first offer."""
    business = bound.model.business
    key = quote(bound.code)
    spoken = ", ".join(text(language) for language in business.languages)
    language = f"case when lower(language) in ({spoken}) then lower(language) else {text(business.languages[0])} end"
    if "language" not in bound.customer_columns:
        language = text(business.languages[0])
    return Stage(
        "addressed",
        "one customer with a first offer",
        f"select {key}, place, {language} as language, held_by is null as allowed, false as nameless, cast([] as integer[]) as tried\n"
        f"from contacted join features using ({key})",
        "addressing",
    )


def combinations(offer: BoundOffer) -> list[tuple[int, int, int]]:
    """All treatments of an offer as places of their parts, richest first."""
    observe, help, act = (range(len(offer.parts[part])) for part in PARTS)
    return list(product(observe, help, act))


def _uses(offer: BoundOffer, language: str, fact: str) -> list[int]:
    """The choices of treatment that state a fact."""
    return [
        choice
        for choice, places in enumerate(combinations(offer), 1)
        if any(fact in names(offer.parts[part][index].text.get(language, "")) for part, index in zip(PARTS, places, strict=True))
    ]


@once
def texts(bound: Bound, place: int, language: str, source: str = "addressed") -> str:
    """A SELECT that writes the message of one offer in one language for all customers it is for.

    Columns: the customer's code, offer, language, treatment (e.g. `observe-1 help-2 act-1`), message, greet,
    facts (each as it is written in the text), choice. The message is null where no treatment is true, fits and
    is not yet tried.
    """
    offer = bound.offers[place - 1]
    channel = bound.model.channels[bound.model.business.channel]
    key = quote(bound.code)
    used = [
        name for name in offer.facts if any(name in names(option.text.get(language, "")) for part in PARTS for option in offer.parts[part])
    ]
    here = _offer_columns(offer)
    values = [f"{_over(offer.facts[name], here)} as {quote(f'v.{name}')}" for name in used]
    conditions = [
        f"{_over(option.when, here)} as {quote(f'when.{part}{index}')}"
        for part in PARTS
        for index, option in enumerate(offer.parts[part])
        if option.when is not None and language in option.text
    ]
    greeting = "name" in bound.customer_columns
    select = f"""select {key}, a.tried, a.nameless, {"f.name" if greeting else "null as name"}
  {"".join(f",{chr(10)}  {item}" for item in [*values, *conditions])}
from {source} as a join features as f using ({key}) join scored as s using ({key})
where a.place = {place} and a.language = {text(language)} and a.allowed"""
    voice = bound.model.voices[language]
    month = voice.months[last_month(bound.as_of).start.month - 1]
    facts = [
        f"{written(bound, language, channel, offer.model.messages.facts[name].form, quote(f'v.{name}'))} as {quote(f'f.{name}')}"
        for name in used
    ]
    calm_name = f"case when name = upper(name) then {_title('name')} else name end"
    greet = f"case when not nameless and length(name) <= 30 and regexp_matches(name, {text(NAME)}) then {calm_name} || ', ' else '' end"
    select = f"select *,\n  {listing([f'{greet} as greet', *facts])}\nfrom ({select})"
    columns = {GREET: "greet", MONTH: text(month), **{name: quote(f"f.{name}") for name in used}}
    sizes = [f"length({columns[name]}) as {quote(f'size.{name}')}" for name in (GREET, *used)]
    select = f"select *,\n  {listing(sizes)}\nfrom ({select})"
    longs = {GREET: quote(f"size.{GREET}"), MONTH: str(len(month)), **{name: quote(f"size.{name}") for name in used}}
    lengths = []  # a text is put together once it is chosen: its length is that of its pieces
    for part in PARTS:
        for index, option in enumerate(offer.parts[part]):
            wording = option.text.get(language)
            long = "cast(null as bigint)" if wording is None else length(wording, longs)
            if wording is not None and option.when is not None:
                long = f"case when {quote(f'when.{part}{index}')} then {long} end"
            lengths.append(f"{long} as {quote(f'length.{part}{index}')}")
    select = f"select *,\n  {listing(lengths)}\nfrom ({select})"
    fewest, most = channel.length
    fits, treatments = [], []
    chosen: dict[tuple[str, int], list[str]] = {}
    for choice, places in enumerate(combinations(offer), 1):
        long = " + ".join(quote(f"length.{part}{index}") for part, index in zip(PARTS, places, strict=True))
        fits.append(f"when {long} + 2 between {fewest} and {most} and not list_contains(tried, {choice}) then {choice}")
        label = " ".join(f"{part}-{index + 1}" for part, index in zip(PARTS, places, strict=True))
        treatments.append(f"when {choice} then {text(label)}")
        for part, index in zip(PARTS, places, strict=True):
            chosen.setdefault((part, index), []).append(str(choice))
    select = f"select *, case {' '.join(fits)} end as choice\nfrom ({select})"
    said = []
    for part in PARTS:
        whens = [
            f"when choice in ({', '.join(chosen[part, index])}) then {concatenation(option.text[language], columns)}"
            for index, option in enumerate(offer.parts[part])
            if language in option.text
        ]
        said.append(f"case {' '.join(whens)} end" if whens else "cast(null as varchar)")
    select = f"select *, {' || chr(32) || '.join(said)} as joined\nfrom ({select})"
    select = f"select *, upper(joined[1]) || joined[2:] as message\nfrom ({select})"
    kind = f"enum({', '.join(text(period) for period in PERIODS)})"
    stated = ", ".join(
        f"case when choice in ({', '.join(map(str, uses))}) then {{'fact': {text(name)}, 'shown': {quote(f'f.{name}')}, "
        f"'period': cast({text(min(periods(bound, offer.facts[name])))} as {kind})}} end"
        for name in used
        if (uses := _uses(offer, language, name))
    )
    none = f"cast(null as struct(fact varchar, shown varchar, period {kind})[])"
    shown = f"list_filter([{stated}], lambda x: x is not null)" if stated else none
    return f"""select {key}, {place} as place, {text(offer.id)} as offer, {text(language)} as language, tried, nameless, choice,
  case choice {" ".join(treatments)} end as treatment, message,
  case when message is not null then {shown} end as facts, greet
from ({select})"""


@once
def shaped(bound: Bound) -> Stage:
    """Drafts with their shape: what a text is made of, with every digit as 0. Grain: one customer with a first offer.

    Texts of one shape break the same rules, but for rules that name a digit. A million texts have some thousand shapes, and each is
    linted once.
    """
    said = f"list_transform(facts, lambda x: {lint.without_digits('x.shown')})"
    return Stage(
        "shaped", "one customer with a first offer", f"select *, hash(place, language, choice, greet, {said}) as shape from drafts"
    )


@once
def shapes(bound: Bound) -> Stage:
    """Every shape of text with the rules it breaks. Grain: one shape and language."""
    channel = bound.model.business.channel
    selects = [
        f"select language, shape, {lint.by_shape(bound.model, language, channel, 'example')} as broken "
        f"from (select language, shape, min(message) as example from shaped where language = {text(language)} group by all)"
        for language in bound.model.business.languages
    ]
    return Stage("shapes", "one shape and language", "\nunion all\n".join(selects))


@once
def linted(bound: Bound, name: str) -> Stage:
    """Drafts with the rules they break. Grain: one customer with a first offer."""
    channel = bound.model.business.channel
    own = " ".join(
        f"when {text(language)} then {lint.by_text(bound.model, language, channel, 'message')}"
        for language in bound.model.business.languages
    )
    return Stage(
        name,
        "one customer with a first offer",
        f"select s.* exclude (shape), list_concat(broken, case s.language {own} end) as failed "
        "from shaped as s left join shapes using (language, shape)",
    )


def _title(name: str) -> str:
    """АННА-МАРИЯ ИВАНОВА as Анна-Мария Иванова."""
    part = "upper(v[1]) || lower(v[2:])"
    word = f"array_to_string(list_transform(string_split(w, '-'), lambda v: {part}), '-')"
    return f"array_to_string(list_transform(string_split({name}, ' '), lambda w: {word}), ' ')"


def _offer_columns(offer: BoundOffer) -> dict[str, str]:
    """What a fact calls benefit or term_x is this offer's column."""
    return {
        "benefit": f"{offer.id}.benefit",
        **{f"term_{name}": f"{offer.id}.term.{name}" for name in [*offer.terms, "cap", "today"]},
    }


def _over(rule: Rule, columns: dict[str, str]) -> str:
    def swap(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and node.name in columns:
            return exp.cast(exp.column(columns[node.name], quoted=True), "double")
        return node

    return tree(rule).transform(swap).sql(dialect="duckdb")
