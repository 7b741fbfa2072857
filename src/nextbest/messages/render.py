"""Choose and write one message per customer: the richest wording of each part that is true and fits together.

All customers with the same first offer and language are written in one pass. A text that the linter refuses
is tried again without the name, then with the next wording, for those customers only.
"""

from collections.abc import Iterator
from itertools import product

from sqlglot import exp

from nextbest.messages import lint
from nextbest.messages.facts import PERIODS, periods
from nextbest.messages.greeting import NAMELESS
from nextbest.messages.locale import Written
from nextbest.messages.template import GREET, MONTH, concatenation, length, names
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import PARTIAL, Bound, BoundOffer
from nextbest.playbook.window import last_month
from nextbest.rules.parse import Rule
from nextbest.rules.render import tree

PARTS = ("observe", "help", "act")


def combinations(offer: BoundOffer) -> list[tuple[int, int, int]]:
    """All treatments of an offer as places of their parts, richest first."""
    observe, help, act = (range(len(offer.parts[part])) for part in PARTS)
    return list(product(observe, help, act))


@once
def texts(bound: Bound, place: int, language: str, source: str = "greeted") -> str:
    """A SELECT that writes the message of one offer in one language for all customers of `source` it is for.

    Columns: the customer's code, place, language, greet, greet_shape, tried, failed (the rules that refused those), choice, offer,
    treatment (e.g. `observe-1 help-2 act-1`), message, facts (each as it is written in the text), shape. The message is null where no
    treatment is true, fits and is not yet tried.

    A wording's length is known from its facts' before anything is written: only what is chosen is.
    """
    return _Texts(bound, place, language, source).select()


class _Texts:
    """One offer in one language, layer by layer: values, lengths, the choice, the text."""

    def __init__(self, bound: Bound, place: int, language: str, source: str):
        self.bound, self.place, self.language, self.source = bound, place, language, source
        self.offer = bound.offers[place - 1]
        self.channel = bound.model.channels[bound.model.business.channel]
        month = bound.model.voices[language].months[last_month(bound.as_of).start.month - 1]
        self.wordings = {
            (part, index): option.text[language].replace(f"{{{MONTH}}}", month)
            for part in PARTS
            for index, option in enumerate(self.offer.parts[part])
            if language in option.text
        }
        stated = {name for wording in self.wordings.values() for name in names(wording)}
        self.forms = {
            name: Written(bound, language, self.channel, self.offer.model.messages.facts[name].form)
            for name in self.offer.facts
            if name in stated
        }
        self.ways = {part: len(self.offer.parts[part]) for part in PARTS}

    def select(self) -> str:
        select = "from given"
        layers = (self._digits(), self._sizes(), self._lengths(), self._choice(), self._parts(), self._written(), self._joined())
        for layer in layers:
            select = f"select *,\n  {listing(layer)}\nfrom (\n{select})" if layer else select
        treatments = (" ".join(f"{part}-{n + 1}" for part, n in zip(PARTS, places, strict=True)) for places in combinations(self.offer))
        columns = {
            "place": str(self.place),
            "language": text(self.language),
            **{name: name for name in ("greet", "greet_shape", "tried", "failed", "choice")},
            "offer": text(self.offer.id),
            "treatment": f"[{', '.join(map(text, treatments))}][choice]",
            "message": self._message(),
            "facts": self._facts(),
            "shape": self._shape(),
        }
        items = [quote(self.bound.code), *(f"{value} as {name}" for name, value in columns.items())]
        # Some of each batch of customers get this offer. Set apart first, they are written in full batches, in two thirds of the time.
        return f"select * from (with given as materialized (\n{self._values()})\nselect {listing(items)}\nfrom (\n{select}))"

    def _values(self) -> str:
        """Whom it is for, with the facts' values and which wordings are true."""
        key, facts = quote(self.bound.code), self.offer.facts
        items = [f"{self._known(facts[name], form.value(self._over(facts[name])))} as {_value(name)}" for name, form in self.forms.items()]
        for part, index in self.wordings:
            when = self.offer.parts[part][index].when
            items += [f"{self._known(when, self._over(when))} as {_when(part, index)}"] if when is not None else []
        return f"""select {listing([key, "a.greet", "a.greet_shape", "a.tried", "a.failed", *items])}
from {self.source} as a join features as f using ({key}) join scored as s using ({key})
where a.place = {self.place} and a.language = {text(self.language)}"""

    def _known(self, rule: Rule, value: str) -> str:
        """SQL: the value, null where a sum behind it lacks a row: a text tells no part of an amount as the whole, and rests on none."""
        roots = [root for each in self._behind(rule) for root in self.bound.roots(each)]
        sums = [text(root) for root in dict.fromkeys(roots) if root in self.bound.sums]
        return f"case when list_has_any({quote(PARTIAL)}, [{', '.join(sums)}]) then null else {value} end" if sums else value

    def _behind(self, rule: Rule) -> Iterator[Rule]:
        """A rule, and those of the benefit's terms that it names."""
        yield rule
        for name, term in {**self.offer.terms, "today": self.offer.today, "cap": self.offer.cap}.items():
            if term and not {"benefit", f"term_{name}"}.isdisjoint(rule.columns):
                yield term

    def _over(self, rule: Rule) -> str:
        """SQL: the rule over the columns of this offer."""
        columns = _offer_columns(self.offer)

        def swap(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Column) and node.name in columns:
                return exp.cast(exp.column(columns[node.name], quoted=True), "double")
            return node

        return tree(rule).transform(swap).sql(dialect="duckdb")

    def _digits(self) -> list[str]:
        return [f"length(cast({_value(name)} as varchar)) as {_size_of_number(name)}" for name, form in self.forms.items() if form.whole]

    def _sizes(self) -> list[str]:
        """How many characters the greeting has, and each fact."""
        sizes = {name: form.size(_value(name), _size_of_number(name)) for name, form in self.forms.items()}
        return [f"length(greet) as {_size(GREET)}", *(f"{size} as {_size(name)}" for name, size in sizes.items())]

    def _lengths(self) -> list[str]:
        """How many characters each wording has, null where it is not true or a fact is not known."""
        sizes = {name: _size(name) for name in (GREET, *self.forms)}
        items = []
        for (part, index), wording in self.wordings.items():
            long = length(wording, sizes)
            if self.offer.parts[part][index].when is not None:
                long = f"case when {_when(part, index)} then {long} end"
            items.append(f"{long} as {_length(part, index)}")
        return items

    def _choice(self) -> list[str]:
        """The number of the first treatment that fits; what cannot be observed is not looked at any further."""
        fewest, most = (size - 2 for size in self.channel.length)
        branches: dict[int, list[str]] = {}
        for choice, places in enumerate(combinations(self.offer), 1):
            parts = list(zip(PARTS, places, strict=True))
            if all(part in self.wordings for part in parts):
                long = " + ".join(_length(*part) for part in parts)
                tried = "" if self.source == "greeted" else f" and not list_contains(tried, {choice})"
                branches.setdefault(places[0], []).append(f"when {long} between {fewest} and {most}{tried} then {choice}")
        blocks = [f"case when {_length('observe', n)} is not null then case {' '.join(of)} end end" for n, of in branches.items()]
        return [f"coalesce({', '.join([*blocks, 'cast(null as integer)'])}) as choice"]

    def _parts(self) -> list[str]:
        """Which wording of each part is chosen."""
        left, items = 1, []
        for part in reversed(PARTS):
            items.append(f"(choice - 1) // {left} % {self.ways[part]} as {_chosen(part)}")
            left *= self.ways[part]
        return items

    def _written(self) -> list[str]:
        """Each fact as it is written, where the text states it."""
        items = []
        for name, form in self.forms.items():
            stated = []
            for part in PARTS:
                places = [str(n) for (of, n), wording in self.wordings.items() if of == part and name in names(wording)]
                stated += [f"{_chosen(part)} in ({', '.join(places)})"] if places else []
            items.append(f"case when {' or '.join(stated)} then {form.text(_value(name))} end as {_text(name)}")
        return items

    def _joined(self) -> list[str]:
        """The text, every fact of which is known once it is chosen."""
        columns = {GREET: "greet", **{name: _text(name) for name in self.forms}}
        said = []
        for part in PARTS:
            whens = [f"when {n} then {concatenation(wording, columns)}" for (of, n), wording in self.wordings.items() if of == part]
            said.append(f"case {_chosen(part)} {' '.join(whens)} end" if whens else "''")
        return [f"case when choice is not null then concat({', chr(32), '.join(said)}) end as joined"]

    def _message(self) -> str:
        """SQL: the text, begun with a capital letter: a greeting has one."""
        capital = "upper(joined[1]) || joined[2:]"
        greets = all(wording.startswith(f"{{{GREET}}}") for (part, _), wording in self.wordings.items() if part == "observe")
        return f"case when greet = '' then {capital} else joined end" if greets else capital

    def _facts(self) -> str:
        kind = f"enum({', '.join(text(period) for period in PERIODS)})"
        stated = ", ".join(
            f"case when {_text(name)} is not null then {{'fact': {text(name)}, 'shown': {_text(name)}, "
            f"'period': cast({text(min(periods(self.bound, self.offer.facts[name])))} as {kind})}} end"
            for name in self.forms
        )
        none = f"cast(null as struct(fact varchar, shown varchar, period {kind})[])"
        return f"case when joined is not null then {f'list_filter([{stated}], lambda x: x is not null)' if stated else none} end"

    def _shape(self) -> str:
        """SQL: a hash of what the text is made of, but for which digits stand where and which letters a name has.

        Texts of one shape break the same rules, but for rules that name a digit. A million texts have some hundred shapes, and each
        is linted once.
        """
        shapes = {name: form.shape(_value(name), _size(name)) for name, form in self.forms.items()}
        facts = [f"case when {_text(name)} is not null then {shape} end" for name, shape in shapes.items()]
        return f"hash({', '.join([text(f'{self.offer.id} {self.language}'), 'choice', 'greet_shape', *facts])})"


@once
def shapes(bound: Bound, table: str = "messages", languages: tuple[str, ...] = ()) -> Stage:
    """Every shape of text with the rules it breaks. Grain: one shape and language. `languages`: those that texts are in, or all."""
    channel = bound.model.business.channel
    selects = [
        f"select language, shape, {lint.by_shape(bound.model, language, channel, 'example')} as broken "
        f"from (select language, shape, any_value(message) as example from {table} "
        f"where language = {text(language)} and message is not null group by all)"
        for language in languages or bound.model.business.languages
    ]
    return Stage("shapes", "one shape and language", "\nunion all\n".join(selects))


@once
def refused(bound: Bound, language: str, table: str = "messages") -> str:
    """A SELECT of the customers whose text the linter refuses, to be written anew: first without the name, which a rule may dislike
    in this text, then with the next wording. Grain: one such customer. Columns: those of `greeted`, and the rules `broken` by this
    text; `failed` are those of the texts before it too.
    """
    own = lint.by_text(bound.model, language, bound.model.business.channel, "message")
    tried = "case when greet = '' then list_append(tried, choice) else tried end"
    return (
        f"select {quote(bound.code)}, place, language, '' as greet, {NAMELESS} as greet_shape, {tried} as tried, "
        f"list_concat(failed, broken) as failed, broken\n"
        f"from (select * exclude (broken), list_concat(broken, {own}) as broken from {table} left join shapes using (language, shape)\n"
        f"where language = {text(language)} and message is not null) where len(broken) > 0"
    )


def _value(fact: str) -> str:
    return quote(f"value.{fact}")


def _size_of_number(fact: str) -> str:
    return quote(f"digits.{fact}")


def _size(fact: str) -> str:
    return quote(f"size.{fact}")


def _text(fact: str) -> str:
    return quote(f"text.{fact}")


def _when(part: str, index: int) -> str:
    return quote(f"when.{part}{index}")


def _length(part: str, index: int) -> str:
    return quote(f"length.{part}{index}")


def _chosen(part: str) -> str:
    return quote(f"chosen.{part}")


def _offer_columns(offer: BoundOffer) -> dict[str, str]:
    """What a fact calls benefit or term_x is this offer's column."""
    return {
        "benefit": f"{offer.id}.benefit",
        **{f"term_{name}": f"{offer.id}.term.{name}" for name in [*offer.terms, "cap", "today"]},
    }
