"""How a fact is written in a voice: money, numbers, percents, counted words, category names."""

from collections.abc import Callable

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


class Written:
    """One form in a voice on a channel, as SQL over `value`: a whole number, or of anything else the text itself.

    Null stays null.
    """

    def __init__(self, bound: Bound, language: str, channel: Channel, form: str):
        self.voice, self.form, self.sign = bound.model.voices[language], form, channel.sign
        self.plural = bound.plurals[language]

    @property
    def whole(self) -> bool:
        """Whether what is written is a whole number, alone or with a sign or a word: its length is known before it is written."""
        return self.form in ("money", "number") or (self.form in self.voice.words and self.form not in self.voice.labels)

    def value(self, fact: str) -> str:
        """SQL: of a fact what is to be written: a whole number, or the text."""
        if self.whole:
            return f"cast(round({fact}) as bigint)"
        if self.form in self.voice.labels:
            branches = " ".join(f"when {text(key)} then {text(label)}" for key, label in self.voice.labels[self.form].items())
            return f"case {fact} {branches} end"
        if self.form == "percent":
            number = f"cast(cast(round({fact} * 100, 2) as decimal(18, 2)) as varchar)"
            return f"replace(regexp_replace({number}, '\\.?0+$', ''), '.', {text(self.voice.decimal)}) || '%'"
        return fact

    def text(self, value: str) -> str:
        """SQL: the text."""
        if not self.whole:
            return value
        number = f"replace(format('{{:,}}', {value}), ',', {text(self.voice.thousands)})"
        return f"{number} || {self._after(value, lambda word: text(word))}" if self._has_more else number

    def size(self, value: str, digits: str) -> str:
        """SQL: how many characters the text has. `digits`: of a whole number, how many it has with its sign."""
        if not self.whole:
            return f"length({value})"
        apart = f" + {len(self.voice.thousands)} * (({digits} - 1 - cast({value} < 0 as integer)) // 3)" if self.voice.thousands else ""
        more = f" + {self._after(value, lambda word: str(len(word)))}" if self._has_more else ""
        return f"{digits}{apart}{more}"

    def shape(self, value: str, size: str) -> str:
        """SQL: the same for all texts that differ in nothing but which digits stand where. `size`: how many characters it has."""
        if not self.whole:
            return value
        which = f" + 1000 * {_which(self.plural, value)}" if self.form in self.voice.words else ""
        return f"case when {value} < 0 then -1 else 1 end * ({size}{which})"

    @property
    def _has_more(self) -> bool:
        return self.form != "number"

    def _after(self, value: str, said: Callable[[str], str]) -> str:
        """SQL: what stands after the number, the sign or the word that goes with it."""
        if self.form == "money":
            return said(NBSP + self.sign)
        branches = " ".join(f"when {place} then {said(NBSP + word)}" for place, word in enumerate(self.voice.words[self.form], 1))
        return f"case {_which(self.plural, value)} {branches} end"


def _which(rule: Rule, number: str) -> str:
    """SQL: which of a word's forms goes with a number."""
    counted = exp.paren(parse_one(number, dialect="duckdb"))
    return tree(rule).transform(lambda node: counted.copy() if isinstance(node, exp.Column) else node).sql(dialect="duckdb")
