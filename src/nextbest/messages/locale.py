"""How a fact is written in a voice: money, numbers, percents, counted words, category names."""

from sqlglot import exp, parse_one

from nextbest.plan.stage import text
from nextbest.playbook.bind import Bound
from nextbest.playbook.speech import Channel, Voice
from nextbest.rules.parse import Rule
from nextbest.rules.render import tree

NBSP = "\u00a0"
FORMS = ("text", "money", "number", "percent")


def forms(voice: Voice) -> set[str]:
    """Every form that a fact may be written in: the four kinds, the voice's words, its label tables."""
    return {*FORMS, *voice.words, *voice.labels}


def written(bound: Bound, language: str, channel: Channel, form: str, value: str) -> str:
    """SQL text of `value` (SQL of a number or a name) in the form; null stays null."""
    voice = bound.model.voices[language]
    if form == "text":
        return value
    if form in voice.labels:
        branches = " ".join(f"when {text(key)} then {text(label)}" for key, label in voice.labels[form].items())
        return f"case {value} {branches} end"
    if form == "percent":
        return _decimals(voice, f"cast(round({value} * 100, 2) as decimal(18, 2))") + " || '%'"
    whole = f"cast(round({value}) as bigint)"
    number = f"replace(format('{{:,}}', {whole}), ',', {text(voice.thousands)})"
    if form == "money":
        return f"{number} || {text(NBSP + channel.sign)}"
    if form == "number":
        return number
    return f"{number} || {text(NBSP)} || {_plural(bound.plurals[language], voice.words[form], whole)}"


def _decimals(voice: Voice, value: str) -> str:
    return f"replace(regexp_replace(cast({value} as varchar), '\\.?0+$', ''), '.', {text(voice.decimal)})"


def _plural(rule: Rule, words: list[str], number: str) -> str:
    counted = exp.paren(parse_one(number, dialect="duckdb"))
    which = tree(rule).transform(lambda node: counted.copy() if isinstance(node, exp.Column) else node)
    branches = " ".join(f"when {place} then {text(word)}" for place, word in enumerate(words, 1))
    return f"case {which.sql(dialect='duckdb')} {branches} end"
