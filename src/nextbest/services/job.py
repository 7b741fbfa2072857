"""The stages of one run over its engine, from features on: what a batch, a replay and a rerun have in common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from nextbest.engines.base import Engine
from nextbest.messages import greeting, render
from nextbest.plan import candidates, contact, features, records
from nextbest.plan.contact import HISTORY, SUPPRESSIONS, Moments
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.contact import known_zone, next_opening


@dataclass
class Job:
    """Makes the stages' tables in the engine. `moment` is when the decisions are for (with a time zone).

    `usual`: what is usual, where it is not to be measured over the customers of this run. `texts_refused`: rule of the voice → how many of
    the texts written last it refused.
    """

    book: Bound
    engine: Engine
    moment: datetime
    moments: Moments = field(default_factory=dict)
    linted: bool = False
    texts_refused: Counter[str] = field(default_factory=Counter)
    usual: Mapping[str, float | None] | None = None

    @property
    def key(self) -> str:
        """The customer's code, quoted."""
        return quote(self.book.code)

    @property
    def seconds(self) -> int:
        """The moment, in seconds since 1970."""
        return int(self.moment.timestamp())

    def no_past(self) -> None:
        """Nothing is known of earlier contacts."""
        kinds = {name: kind for name, kind, *_ in self.engine.rows("describe features")}
        for name, columns in (("history", HISTORY), ("suppressions", SUPPRESSIONS)):
            listed = ", ".join(f"cast(null as {of}) as {quote(column)}" for column, of in columns.items())
            select = f"select cast(null as {kinds[self.book.code]}) as {self.key}, {listed} where false"
            self.engine.create(Stage(name, "one event of a customer", select))

    def features(self) -> None:
        """Features, what is usual, and signals. Needs `summed`."""
        self.engine.create(features.features(self.book))
        self.population()
        self.engine.view(features.signals(self.book))

    def features_again(self) -> None:
        """The same once customers' columns among the features were filled: rules may name them."""
        columns = ", ".join(map(quote, self.book.inputs))
        self.engine.create(Stage("filled", "one customer", f"select {columns} from features"))
        self.engine.create(features.over(self.book, "from filled"))
        self.engine.drop("filled")
        self.population()

    def population(self) -> None:
        """What is usual among the customers, or as it is given; a default where it is not."""
        if self.usual is None:
            self.engine.create(features.population(self.book))
            return
        defaults = {name: item.default for name, item in self.book.model.features.population.items()}
        values = {name: self.usual.get(name, default) for name, default in defaults.items()}
        items = ", ".join(f"cast({'null' if value is None else repr(value)} as double) as {quote(name)}" for name, value in values.items())
        self.engine.create(Stage("population", "one row", f"select {items or '1 as scored_customers'}"))

    def score(self) -> None:
        """Every offer of every customer, ranked."""
        self.engine.create(candidates.scored(self.book))

    def hold(self, explore: bool = True) -> None:
        """The contact policy over `history` and `suppressions`. `explore`: whether the playbook may try other offers."""
        self.moments = self._openings()
        for stage in (
            contact.events(self.book, self.seconds),
            contact.planned(self.book, self.moments),
            contact.holding(self.book),
            contact.contacted(self.book, self.moments, self.seconds if explore else None),
        ):
            self.engine.create(stage)

    def _openings(self) -> Moments:
        policy = self.book.model.contact
        zones: list[str] = []
        if "time_zone" in self.book.customer_columns:
            found = self.engine.rows("select distinct time_zone from features where time_zone is not null order by 1")
            zones = [zone for (zone,) in found if known_zone(zone)]
        return {
            name: {
                zone: int(next_opening(self.moment, zone or policy.time_zone, lane.sending).astimezone(UTC).timestamp())
                for zone in (None, *zones)
            }
            for name, lane in policy.lanes.items()
        }

    def withdraw(self, refusals: Sequence[tuple[str, str | None]], rule: str) -> bool:
        """Hold back, by `rule`, what was chosen for customers who refused its purpose (None: any); whether that changed anything."""
        if not refusals:
            return False
        customers, purposes = zip(*refusals, strict=True)
        self.engine.load("refusals", pa.table({"customer": pa.array(customers, pa.string()), "purpose": pa.array(purposes, pa.string())}))
        own = " ".join(f"when {place} then {text(offer.model.purpose)}" for place, offer in enumerate(self.book.offers, 1))
        among = f"""exists (from refusals as r where r.customer = cast({self.key} as varchar)
  and coalesce(r.purpose, case place {own} end) = case place {own} end)"""
        changed = bool(self.engine.rows(f"select 1 from contacted where held_by is null and {among} limit 1"))
        self.engine.update("contacted", "held_by", text(rule), f"held_by is null and {among}")
        self.engine.update("addressed", "allowed", "false", among)
        self.engine.delete("messages", among)
        return changed

    def forget(self, customers: Sequence[str], rule: str) -> bool:
        """Leave customers alone who had been scored: nothing of it stays; whether there were any."""
        self.engine.load("objecting", pa.table({"customer": pa.array(customers, pa.string())}))
        among = f"cast({self.key} as varchar) in (select customer from objecting)"
        if not self.engine.rows(f"select 1 from features where {among} limit 1"):
            return False
        self.engine.insert("left_alone", f"select {self.key}, {text(rule)} from features where {among}")
        for table in ("features", "scored", "contacted", "addressed", "messages", "history", "suppressions"):
            self.engine.delete(table, among)
        return True

    def write(self) -> None:
        """One text for each customer who may be written to, none that the linter refuses."""
        self.engine.create(greeting.addressed(self.book))
        spoken = self.engine.rows("select distinct language from addressed where allowed order by 1")
        self.engine.create(greeting.greetings(self.book, tuple(language for (language,) in spoken)))
        self.engine.create(greeting.greeted(self.book))
        self.texts_refused.clear()
        self._write_texts("greeted", "messages")
        while broken := dict(self.engine.rows("select rule, count(*) from (select unnest(broken) as rule from refused) group by rule")):
            self.texts_refused.update(broken)
            self.engine.delete("messages", f"{self.key} in (select {self.key} from refused)")
            self._write_texts("refused", "rewritten")
            self.engine.insert("messages", "from rewritten")
        for table in ("greetings", "greeted"):  # whoever is forgotten later leaves no name
            self.engine.drop(table)

    def _write_texts(self, source: str, table: str) -> None:
        """Texts for the customers of `source`; then `refused` are those whose text may not go out."""
        pairs = self.engine.rows(f"select place, language from {source} group by place, language order by count(*) desc, place, language")
        if not pairs:  # nobody may be written to: the table is there all the same
            pairs = [(1, self.book.model.business.languages[0])]
        self.engine.union(table, [render.texts(self.book, place, language, source) for place, language in pairs])
        languages = tuple(dict.fromkeys(language for _, language in pairs))
        self._lint_shapes(table, languages)
        self.engine.union("refused", [render.refused(self.book, language, table) for language in languages])

    def _lint_shapes(self, table: str, languages: tuple[str, ...]) -> None:
        """Lint the shapes that were not met before: the patterns cost more than all else that one customer needs."""
        shapes, known = render.shapes(self.book, table, languages), "anti join shapes using (language, shape)"
        if not self.linted:
            self.engine.create(shapes)
            self.linted = True
        elif self.engine.rows(f"select 1 from {table} {known} where message is not null limit 1"):
            self.engine.insert("shapes", f"from ({shapes.select}) as s {known}")

    def record(self) -> None:
        """Every customer's record, as it goes into the ledger."""
        self.engine.create(records.past(self.book))
        self.engine.create(records.records(self.book))
