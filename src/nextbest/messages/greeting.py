"""Whom a message goes to, and how each name is greeted."""

from nextbest.messages import lint
from nextbest.plan.stage import Stage, once, quote, text
from nextbest.playbook.bind import Bound

NAME = r"^\p{L}[\p{L}''’ʼ-]*( \p{L}[\p{L}''’ʼ-]*){0,2}$"
"""A name fit to greet by: letters, apostrophes and hyphens, at most three words."""
LONGEST = 30
NAMELESS = "0::ubigint"
"""The shape of no greeting."""


@once
def addressed(bound: Bound) -> Stage:
    """Who gets a message of which offer, in which language. Grain: one customer with a first offer."""
    business = bound.model.business
    key = quote(bound.code)
    spoken = ", ".join(text(language) for language in business.languages)
    language = f"case when lower(language) in ({spoken}) then lower(language) else {text(business.languages[0])} end"
    if "language" not in bound.customer_columns:
        language = text(business.languages[0])
    name = "name" if "name" in bound.customer_columns else "cast(null as varchar)"
    return Stage(
        "addressed",
        "one customer with a first offer",
        f"select {key}, place, {language} as language, held_by is null as allowed, {name} as name\n"
        f"from contacted join features using ({key})",
    )


@once
def greetings(bound: Bound, languages: tuple[str, ...] = ()) -> Stage:
    """How each name is greeted; '' for one that is no name, or that the rules dislike. Grain: one name and language.

    Names are linted here, each once. `greet_shape` is the same for names that rules over a whole text take alike: capitals and small
    letters stand alike, and what rules count or ask for is found in them as often. `languages`: those that somebody speaks; the
    playbook's, where none is given.
    """
    channel = bound.model.business.channel
    calm = f"case when name = upper(name) then {_title('name')} else upper(name[1]) || name[2:] end"
    selects = []
    for language in languages or bound.model.business.languages:
        disliked = lint.in_part(bound.model, language, channel, "greet")
        names = f"select distinct name from addressed where allowed and language = {text(language)} and name is not null"
        fit = f"select name, case when length(name) <= {LONGEST} and regexp_matches(name, {text(NAME)}) then {calm} || ',' end as greet"
        greet = f"case when greet is null or {disliked} then '' else greet || ' ' end as greet"
        like = "regexp_replace(regexp_replace(greet, '\\p{Lu}', 'A', 'g'), '\\p{Ll}+', 'a', 'g')"
        found = ", ".join(["0", *lint.found_in_part(bound.model, language, channel, "greet")])
        selects.append(
            f"select {text(language)} as language, name, greet, case when greet = '' then {NAMELESS} else hash({like}, [{found}]) end "
            f"as greet_shape from (select name, {greet} from ({fit} from ({names})))"
        )
    return Stage("greetings", "one name and language", "\nunion all\n".join(selects))


@once
def greeted(bound: Bound) -> Stage:
    """Who may be written to, with the greeting and its shape. Grain: one customer."""
    key = quote(bound.code)
    return Stage(
        "greeted",
        "one customer who may be written to",
        f"select {key}, place, language, coalesce(greet, '') as greet, coalesce(greet_shape, {NAMELESS}) as greet_shape, "
        "cast([] as integer[]) as tried, cast([] as varchar[]) as failed\n"
        "from addressed left join greetings using (language, name) where allowed",
    )


def _title(name: str) -> str:
    """АННА-МАРИЯ ИВАНОВА as Анна-Мария Иванова."""
    part = "upper(v[1]) || lower(v[2:])"
    word = f"array_to_string(list_transform(string_split(w, '-'), lambda v: {part}), '-')"
    return f"array_to_string(list_transform(string_split({name}, ' '), lambda w: {word}), ' ')"
