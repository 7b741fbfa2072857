"""Synth: a made-up bank of any size, from a playbook's `synthetic.yaml`, written in bulk with bounded memory.

Every value is a hash of seed, customer and place, so that the same seed gives the same bank at any size:
customer 17 of sixty is customer 17 of a million.
"""

import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import PlaybookError, Problem, UsageError
from nextbest.plan.stage import Stage, text
from nextbest.playbook.load import find
from nextbest.playbook.window import horizon
from nextbest.services.folder import written_whole
from nextbest.settings import Settings

Range = tuple[float, float]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Everyday(_Record):
    """A usual row: its share of the rows and its usual amount."""

    share: float
    amount: float


class Monthly(_Record):
    """Rows that come every month, for all customers or by status."""

    count: int
    amount: float
    only: str | None = None
    except_: str | None = Field(None, alias="except")


class Status(_Record):
    """A share of the customers with their ages and balances."""

    share: float
    age: Range
    balance: Range


class Kind(_Record):
    """What a kind of customer does beside the usual, and the offer that it is made for."""

    truth: str
    balance: Range | None = None
    transactions: dict[str, tuple[int, float]] = {}
    transfers: dict[str, tuple[int, float]] = {}
    currency: str | None = None
    rate: float = 1.0


class Synthetic(_Record):
    """synthetic.yaml"""

    as_of: date
    months: int
    names: dict[str, list[str]]
    cities: list[str]
    statuses: dict[str, Status]
    everyday: dict[str, dict[str, Everyday]]
    monthly: dict[str, dict[str, Monthly]]
    kinds: Annotated[dict[str, Kind], Field(min_length=1)]


def synth(
    customers: int,
    *,
    out: str | Path,
    seed: int = 0,
    format: str = "csv",
    rows_per_customer: int = 120,
    playbook: str | Path = "bank-kz",
) -> Path:
    """Write clients, transactions and transfers, and `truth.csv` (client_code, offer), to the folder `out`.

    `rows_per_customer` is split evenly between the two activity tables. Raises UsageError, PlaybookError.
    """
    if customers < 1 or rows_per_customer < 2 or format not in ("csv", "parquet"):
        raise UsageError([Problem("synth", "customers ≥ 1, rows per customer ≥ 2, format csv or parquet", "mend the call")])
    spec = _read(playbook)
    with (
        written_whole(Path(out), mark="truth.csv") as folder,
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
    ):
        engine.create(Stage("people", "one customer", _people(spec, customers, seed)))
        columns = 'client_code, name, status, age, city, cast(round(balance) as bigint) as "avg_monthly_balance_KZT"'
        truths = " ".join(f"when {text(name)} then {text(kind.truth)}" for name, kind in spec.kinds.items())
        activity = {table: _activity(spec, table, rows_per_customer // 2, seed) for table in ("transactions", "transfers")}
        engine.export(
            {
                **{folder / f"{table}.{format}": select for table, select in activity.items()},
                folder / f"clients.{format}": f"select {columns} from people",
                folder / "truth.csv": f"select client_code, case kind {truths} end as offer from people",
            }
        )
    return Path(out)


def _read(playbook: str | Path) -> Synthetic:
    path = find(playbook) / "synthetic.yaml"
    if not path.is_file():
        raise UsageError([Problem(str(path), "this playbook has no synthetic.yaml", "use --playbook bank-kz")])
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    if base := spec.pop("base", None):  # its own entries go before the base's
        spec = {**yaml.safe_load((find(base) / path.name).read_text(encoding="utf-8")), **spec}
    try:
        return Synthetic.model_validate(spec)
    except ValidationError as error:
        raise PlaybookError(Problem(path.name, f"{'.'.join(map(str, item['loc']))}: {item['msg']}") for item in error.errors()) from None


def _u(seed: int, *parts: str) -> str:
    """SQL of a number from 0 to 1 that depends on the seed and the parts alone.

    Hashed twice: once only combines the parts, and two draws of one customer would go together.
    """
    return f"((hash(hash({seed}, {', '.join(parts)})) >> 11) / 9007199254740992.0)"


def _pick(items: list[str], u: str) -> str:
    return f"list_extract([{', '.join(text(item) for item in items)}], 1 + cast(floor({u} * {len(items)}) as integer))"


def _by_share(shares: dict[str, float], u: str) -> str:
    total, up_to, branches = sum(shares.values()), 0.0, []
    for name, share in shares.items():
        up_to += share / total
        branches.append(f"when {u} < {up_to:.12f} then {text(name)}")
    return f"case {' '.join(branches)} else {text(list(shares)[-1])} end"


def _between(bounds: Range, u: str) -> str:
    return f"({bounds[0]} + {u} * {bounds[1] - bounds[0]})"


def _people(spec: Synthetic, customers: int, seed: int) -> str:
    def u(what: str) -> str:
        return _u(seed, "client_code", text(what))

    ages = " ".join(f"when {text(name)} then {_between(item.age, u('age'))}" for name, item in spec.statuses.items())
    balances = " ".join(f"when {text(name)} then {_between(item.balance, u('balance'))}" for name, item in spec.statuses.items())
    own = " ".join(
        f"when kind = {text(name)} then {_between(item.balance, u('balance'))}" for name, item in spec.kinds.items() if item.balance
    )
    names = " ".join(f"when {text(sex)} then {_pick(items, u('name'))}" for sex, items in spec.names.items())
    return f"""select client_code, kind, status, case {_pick(list(spec.names), u("sex"))} {names} end as name,
  cast(floor(case status {ages} end) as integer) as age, {_pick(spec.cities, u("city"))} as city,
  case {own} else case status {balances} end end as balance
from (select i as client_code, {_pick(list(spec.kinds), _u(seed, "i", "'kind'"))} as kind,
  {_by_share({name: item.share for name, item in spec.statuses.items()}, _u(seed, "i", "'status'"))} as status
  from range(1, {customers + 1}) as r(i))"""


def _activity(spec: Synthetic, table: str, rows: int, seed: int) -> str:
    """Rows of one table: `place` numbers a customer's rows; special rows come first, everyday rows fill up."""
    window = horizon(spec.as_of, spec.months)
    days = (window.end - window.start).days + 1
    column = "category" if table == "transactions" else "type"

    def u(what: str) -> str:
        return _u(seed, "client_code", "place", text(table + what))

    everyday = spec.everyday[table]
    branches_key, branches_amount = [], []
    currency, rate = [], []
    for name, kind in spec.kinds.items():
        special: dict[str, tuple[int, float]] = getattr(kind, table)
        if not special:
            continue
        keys, amounts, up_to = [], [], 0
        for key, (count, amount) in special.items():
            up_to += count
            keys.append(f"when place <= {up_to} then {text(key)}")
            amounts.append(f"when place <= {up_to} then {amount}")
        branches_key.append(f"when kind = {text(name)} and place <= {up_to} then case {' '.join(keys)} end")
        branches_amount.append(f"when kind = {text(name)} and place <= {up_to} then case {' '.join(amounts)} end")
        if kind.currency:
            currency.append(f"when kind = {text(name)} and place <= {up_to} then {text(kind.currency)}")
            rate.append(f"when kind = {text(name)} and place <= {up_to} then {kind.rate}")
    monthly_keys, monthly_amounts = [], []
    for key, item in spec.monthly.get(table, {}).items():
        who = f"status = {text(item.only)}" if item.only else f"status <> {text(item.except_ or '')}"
        test = f"{who} and place > {rows - item.count * spec.months}"
        monthly_keys.append(f"when {test} then {text(key)}")
        monthly_amounts.append(f"when {test} then {item.amount}")
    usual = _by_share({name: item.share for name, item in everyday.items()}, u("key"))
    key = f"case {' '.join([*branches_key, *monthly_keys])} else {usual} end"
    known = " ".join(f"when {text(name)} then {item.amount}" for name, item in everyday.items())
    usual_amount = f"case {' '.join([*branches_amount, *monthly_amounts, f'when key is not null then case key {known} end'])} end"
    spread = f"(0.5 + {u('a')} * {u('b')} * 2)"
    money = f"round({usual_amount} * {spread} / {_case(rate, '1')}, 2)"
    in_out = ""
    if table == "transfers":
        in_out = "case when key like '%_in' or key = 'fx_sell' then 'in' else 'out' end as direction, "
    return f"""select client_code, timestamp '{window.start}'
    + to_seconds(cast(floor({u("day")} * {days}) * 86400 + 28800 + floor({u("time")} * 800) * 60 as bigint)
    + place % 60) as date,
  key as {column}, {in_out}cast({money} as decimal(18, 2)) as amount, {_case(currency, "'KZT'")} as currency
from (select client_code, kind, status, place, {key} as key
  from (select client_code, kind, status, unnest(range(1, {rows + 1})) as place from people))"""


def _case(branches: list[str], otherwise: str) -> str:
    return f"case {' '.join(branches)} else {otherwise} end" if branches else otherwise
