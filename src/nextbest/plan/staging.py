"""Read rows as typed values, and say of each row that cannot be read why.

The first SELECT runs over the files: it parses every column, and gives each row a `problem` or none.
Amounts are whole hundredths (tiyn) kept as doubles: integers up to 2^53 add up exactly and in any order,
at twice the speed of decimals.
"""

from collections.abc import Sequence
from datetime import date

from nextbest.intake.table import TableFile
from nextbest.plan.cell import AMBIGUOUS, NO_SIGNS, agreed, amount_in, empty, enumeration, parsed, signed
from nextbest.plan.measures import PLACE
from nextbest.plan.stage import FILE_COLUMN, listing, quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.model import Business
from nextbest.playbook.params import steps
from nextbest.playbook.sources import Source, SourceColumn
from nextbest.playbook.window import horizon
from nextbest.rules.render import sql

REJECTED = {
    "no_id": "fill in the customer's code",
    "bad_date": "write dates as 2025-08-31 or as the column is read: 31.08.2025, or with `month_first: true` in the playbook 08/31/2025",
    "ambiguous_amount": "1,234 or 1.234 may be a thousand or one: write 1234 or 1.23, or say `thousands` of the column in the playbook",
    "bad_amount": "write amounts as 1234.56 or 1 234,56; the sign of a currency may stand before or behind (`signs` in playbook.yaml)",
    "zero_amount": "leave out rows without an amount",
    "impossible_amount": "beyond what the playbook takes for possible: look for a decimal point that was lost",
    "after_as_of": "rows after the as-of day are not known on that day",
    "before_window": "older than the playbook's horizon: not needed",
    "no_direction": "write in or out, or a known type",
    "unknown_customer": "add the customer to the customers table",
    "duplicate_row": "the same row stands more than once: the first is kept",
    "duplicate_customer": "the code stands more than once: the first row is kept",
    "no_product": "fill in the product's code",
    "unknown_product": "add the product to the products table",
    "duplicate_product": "the code stands more than once: the first row is kept",
    "no_round": "fill in the round as a whole number: without it nobody knows what came before",
    "no_answer": "write 1 or 0, yes or no",
    "malformed_row": "the row has more or fewer cells than the header, or a quote that does not end",
}
"""Why a row is left out → how to mend it."""

KEPT = {
    "unreadable": "the cell is taken as unknown: mend it if it matters (1,234? `thousands` of the column says what the mark is; "
    "the sign of another currency than the playbook's own is no part of a customer's number)",
    "unknown": "the value is not in the playbook's list: it counts in totals only",
    "unknown:currency": "it is not in the playbook's list, or the amount has another's sign: the row counts, its sum does not, "
    "and no text states a sum that lacks it",
    "unknown:direction": "the value is not in the playbook's list: the type's own is taken",
    "unknown:language": "the value is not in the playbook's list: the first one is taken",
    "blank": "the column is needed and the cell is blank: it is taken as unknown; fill it in",
    "no_rows": "the files have a header and no rows: export them again if there should be any",
    "unknown_feature": "nothing of it is known of anyone, and the model learned from it: hand in the columns that it is made of",
    "rate_assumed": "no rate is known for the day yet: the first known one is used",
    "refund": "a negative amount is taken as a refund",
    "sign_repeats_direction": "the sign is dropped: the direction says it",
    "direction_against_type": "the row counts in its type as the type says, and in money in and out as its direction says: mend one",
}
"""What is odd about a row that is kept, or about a feature in every row → what was made of it, of some columns something of their own.

The reason ends in `:column`.
"""


NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
"""Types of whole numbers that fit a bigint."""


def has_numbers(source: Source, file: TableFile) -> bool:
    """Whether the codes of a file are whole numbers by their type."""
    return file.native.get(file.columns.get(source.code, "")) in NUMBERS


def read_rows(source: Source, scan: str, file: TableFile, numbers: bool = False, business: Business | None = None) -> str:
    """The typed rows of one group of files. `scan` is the engine's table function over them.

    Every contract column is there (null where the files lack it), beside it `raw.<column>` as it was written,
    and `source_file`. What a later select does not name is never computed. Codes are text, or where they are `numbers` stay so.
    Signs of the `business` may stand in cells of money, and for the name of a row's currency.
    """
    items, signs = [], business.signs_of(source) if business else NO_SIGNS
    for name, column in source.columns.items():
        header = file.columns.get(name)
        of_rows = name == "currency" and bool(signs and business and business.converts(source))
        column = signed(column, signs) if of_rows else column
        value = parsed(column, quote(header), file.native.get(header), signs) if header else f"cast(null as {empty(column)})"
        if of_rows and (amount := file.columns.get("amount")) and file.native.get(amount) in (None, "VARCHAR"):
            value = agreed(column, value, quote(amount), signs)
        if numbers and name == source.code:
            value = f"cast({quote(header or '')} as bigint)"
        items.append(f"{value} as {quote(name)}")
        items.append(f"{quote(header) if header else 'cast(null as varchar)'} as {raw(name)}")
    items.append(f"parse_filename({quote(FILE_COLUMN)}) as source_file")
    return f"select\n  {listing(items)}\nfrom {scan}"


def no_rows(source: Source) -> str:
    """The typed rows of a table of which there is no file."""
    items = [
        f"cast(null as {empty(column)}) as {quote(name)}, cast(null as varchar) as {raw(name)}" for name, column in source.columns.items()
    ]
    return f"select {listing(items)}, cast(null as varchar) as source_file where false"


def codes_of(source: Source, activity: Source, rows: str) -> str:
    """The typed rows of a customers table of which there is no file: one for each code of an activity table's rows."""
    code = quote(activity.code)
    items = []
    for name, column in source.columns.items():
        own = name == source.code
        items.append(f"{code if own else f'cast(null as {empty(column)})'} as {quote(name)}")
        items.append(f"{code if own else 'cast(null as varchar)'} as {raw(name)}")
    codes = f"select distinct {code} from ({rows}) where {code} is not null"
    return f"select {listing(items)}, cast(null as varchar) as source_file from ({codes})"


def raw(column: str) -> str:
    """The column that holds a cell as it was written."""
    return quote(f"raw.{column}")


def as_written(source: Source) -> str:
    """SQL: the whole row as it was written, as JSON."""
    pairs = ", ".join(f"{text(name)}: cast({raw(name)} as varchar)" for name in source.columns)
    return f"cast(to_json({{{pairs}}}) as varchar)"


REMEMBERED = "remembered"
"""The table of consents that the workspace holds: `customer`, and a column per purpose, null where nothing is known."""


def customers(bound: Bound, rows: str, remembered: Sequence[str] = (), doubles: bool = True) -> str:
    """The customers table with `problem`. Grain: one row of the file. `doubles`: whether some code stands twice.

    A playbook's default stands in for a blank cell only: an unreadable consent is no consent. Of the `remembered`
    purposes, what the workspace holds stands in for a blank cell before the default does, and its no outweighs a yes.
    """
    business = bound.model.business
    source = business.sources[business.customers]
    key = quote(source.code)
    replaced = {name: quote(name) for name in source.columns}
    for name, rule in bound.defaults.items():
        replaced[name] = f"case when {_blank(name)} then {sql(rule, 'duckdb')} else {quote(name)} end"
    for purpose in remembered:
        name, known = f"consent_{purpose}", f"m.{quote(purpose)}"
        if name in source.columns:
            default = f"{sql(bound.defaults[name], 'duckdb')}" if name in bound.defaults else "null"
            replaced[name] = (
                f"case when {_blank(name)} then coalesce({known}, {default}) else {quote(name)} and coalesce({known}, true) end"
            )
    changed = ", ".join(f"{value} as {quote(name)}" for name, value in replaced.items() if value != quote(name))
    odd = [(reason, test) for reason, test in odd_cells(source) if reason.removeprefix("blank:") not in bound.defaults]
    checks = [("no_id", f"{key} is null"), *([("duplicate_customer", "again > 1")] if doubles else []), *odd]
    if doubles:
        placed = f"select *, row_number() over () as row from ({rows})"
        rows = f"select * exclude (row), row_number() over (partition by {key} order by row) as again from ({placed})"
    memory = f" left join {REMEMBERED} as m on cast(r.{key} as varchar) = m.customer" if remembered else ""
    own = f"r.*{' exclude (again)' if doubles else ''}{f' replace ({changed})' if changed else ''}"
    return f"select {own}, {problem_of(checks)} as problem\nfrom ({rows}) as r{memory}"


def _blank(column: str) -> str:
    return f"coalesce(trim(cast({raw(column)} as varchar)), '') = ''"


def distinct_customers(bound: Bound, staged: str, id_type: str) -> str:
    """One row per customer, by code, numbers as rules compute with them; PLACE counts them."""
    source = bound.model.business.sources[bound.model.business.customers]
    key = quote(source.code)
    items = [f"cast({key} as {id_type}) as {key}"]
    for name, column in source.columns.items():
        if quote(name) != key:
            items.append(f"cast({within(column, quote(name))} as {rule_type(column)}) as {quote(name)}")
    ordered = f"select {listing(items)}\nfrom {quote(staged)}\nwhere problem is null or not {is_rejected()}\norder by 1"
    return f"select *, cast(row_number() over () - 1 as integer) as {quote(PLACE)} from ({ordered})"


def rule_type(column: SourceColumn) -> str:
    """How a customer's column stands in rules: numbers are doubles, words are text."""
    kinds = {"integer": "double", "number": "double", "money": "double", "date": "timestamp", "flag": "boolean", "list": "varchar[]"}
    return kinds.get(column.type, "varchar")


WHOLE = "^(0|[1-9][0-9]{0,17})$"
"""A code that is a plain whole number."""


def customer_code(key: str, id_type: str, numbers: bool = False) -> str:
    """A code as the customers table has it; null where it cannot be one of its: 12.6 and 1e3 are no 13 and 1000.

    `key` is text, or where codes are `numbers` a whole one.
    """
    if numbers:
        return key if id_type == "bigint" else f"cast({key} as varchar)"
    number = f"try_cast({key} as bigint)"
    return f"case when cast({number} as varchar) = {key} then {number} end" if id_type == "bigint" else key


def within(column: SourceColumn, value: str) -> str:
    """The value where it is possible at all, else null."""
    tests = _bounds(column, value)
    return f"case when {tests} then {value} end" if tests else value


def _bounds(column: SourceColumn, value: str) -> str:
    """SQL: whether a value lies within the column's bounds; '' where it has none."""
    tests = [f"{value} >= {column.min}"] if column.min is not None else []
    tests += [f"{value} <= {column.max}"] if column.max is not None else []
    return " and ".join(tests)


def odd_cells(source: Source) -> list[tuple[str, str]]:
    """Cells of a row that can be read in part: unreadable or unknown, never a reason to lose the row."""
    checks = []
    for name, column in source.columns.items():
        written, value = f"nullif(trim(cast({raw(name)} as varchar)), '')", quote(name)
        bounds = [f"{value} < {column.min}"] if column.min is not None else []
        bounds += [f"{value} > {column.max}"] if column.max is not None else []
        if column.type in ("integer", "number", "money", "flag", "date"):
            unread = f"({value} is null and {written} is not null)"
            checks.append((f"unreadable:{name}", " or ".join([unread, *bounds])))
        if column.type == "category" and column.values:
            checks.append((f"unknown:{name}", f"{value} = '?'"))
        if column.required and column.type != "id":
            checks.append((f"blank:{name}", f"{value} is null"))
    return checks


def activity(bound: Bound, name: str, rows: str, customers: str, id_type: str, numbers: bool = False) -> str:
    """An activity table's rows: PLACE, value in hundredths of the playbook's currency (infinite, with its sign, without a rate), and
    `problem`.

    Grain: one row of the file, doubles still among them: they have the same `row_hash`. Category columns hold '?' for an unknown value.
    """
    source = bound.model.business.sources[name]
    key, window = quote(source.code), horizon(bound.as_of, bound.model.business.horizon_months)
    signs, written = bound.model.business.signs_of(source), f"cast({raw('amount')} as varchar)"
    amount = "abs(amount)" if source.negative == "magnitude" else "amount"
    dated = "date" in source.columns
    derived = _direction(source)
    unknown = dict(odd_cells(source)) | ({"unknown:direction": UNKNOWN_DIRECTION} if derived else {})
    code = customer_code(f"r.{key}", id_type, numbers)
    columns = [f"{code} as {key}", quote(PLACE), *(["cast(date as date) as date"] if dated else [])]
    for column, item in source.columns.items():
        if item.type == "category" and item.values:
            columns.append(f"cast({quote(column)} as {enumeration(item)}) as {quote(column)}")
    checks = [
        ("no_id", f"r.{key} is null"),
        *([("bad_date", "date is null")] if dated else []),
        ("ambiguous_amount", f"amount is null and regexp_matches({amount_in(written, signs)}, {text(AMBIGUOUS)})"),
        ("bad_amount", "amount is null"),
        ("zero_amount", "amount = 0"),
        *([("impossible_amount", f"not coalesce({between}, true)")] if (between := _bounds(source.columns["amount"], "amount")) else []),
        *([("after_as_of", f"date >= date '{date.fromordinal(window.end.toordinal() + 1)}'")] if dated else []),
        *([("before_window", f"date < date '{window.start}'")] if dated else []),
        *([("no_direction", "direction is null")] if derived else []),
        ("unknown_customer", f"{quote(PLACE)} is null"),
        *((reason, test) for reason, test in unknown.items() if reason.startswith(("unknown:", "blank:"))),
        *([("rate_assumed", early)] if dated and "currency" in source.columns and (early := _before_rates(bound)) else []),
        *([("direction_against_type", _against_type(source))] if derived else []),
        ("sign_repeats_direction" if source.negative == "magnitude" else "refund", "amount < 0"),
    ]
    # Rows without a time of day may be true repeats: two rides for the same price on one day.
    # In a table without dates each row is a period's total: one that stands twice is a copy.
    hashed = f"hash({', '.join(f'r.{quote(column)}' for column in source.columns)})"
    keyed = f"case when date <> cast(date as date) then {hashed} end" if dated else hashed
    return f"""select {listing(columns)},
  round(cast({amount} as double) * {_rate(bound, source)} * 100) as value,
  {keyed} as row_hash,
  {problem_of(checks)} as problem,
  {", ".join(raw(column) for column in source.columns)}, source_file
from (select r.*, c.{quote(PLACE)}
  from (select {f"* replace ({derived} as direction), direction = '?' as {UNKNOWN_DIRECTION}" if derived else "*"} from ({rows})) as r
  left join {quote(customers)} as c on c.{quote(bound.code)} = {code}) as r"""


DOUBLE = "duplicate_row"
UNKNOWN_DIRECTION = quote("direction is unknown")
"""The column that says so, beside the direction that is taken instead."""


def doubles(source: Source, rows: str) -> str:
    """The rows of an activity table that stand again: all but the first of each whose `row_hash` stands in the table `doubled`."""
    order = ", ".join(["source_file", *map(raw, source.columns)])
    among = f"from ({rows}) where row_hash in (select row_hash from doubled) and (problem is null or not {is_rejected()})"
    return f"select * replace ({text(DOUBLE)} as problem) {among} qualify row_number() over (partition by row_hash order by {order}) > 1"


def is_rejected(column: str = "problem") -> str:
    """SQL: whether a row with this problem is left out."""
    return f"{column} in ({', '.join(text(reason) for reason in REJECTED)})"


def problem_of(checks: list[tuple[str, str]]) -> str:
    """The first thing wrong with a row, as a small enumeration; null for a clean row."""
    reasons = ", ".join(text(reason) for reason, _ in checks)
    branches = " ".join(f"when {test} then {text(reason)}" for reason, test in checks)
    return f"cast(case {branches} end as enum({reasons}))"


def _direction(source: Source) -> str:
    """The direction as written, or where it is missing, as the type says."""
    if not source.direction:
        return ""
    kind = enumeration(source.columns["direction"])
    branches = " ".join(f"when {_of_types(types)} then cast({text(direction)} as {kind})" for direction, types in source.direction.items())
    return f"case when direction <> '?' then direction {branches} end"


def _against_type(source: Source) -> str:
    """SQL: whether the direction is another than the type's own."""
    return " or ".join(f"direction <> {text(own)} and {_of_types(types)}" for own, types in source.direction.items())


def _of_types(types: Sequence[str]) -> str:
    return f"list_contains([{', '.join(map(text, types))}], type)"  # of `in` the engine makes a join over all rows


def _rate(bound: Bound, source: Source) -> str:
    """Units of the playbook's currency per unit of the row's currency on the row's day; infinite where unknown: a refund stays one."""
    business = bound.model.business
    if "currency" not in source.columns:
        return "1"
    branches = []
    for currency, name in business.currencies.items():
        if name is None:
            branches.append(f"when {text(currency)} then 1")
            continue
        dated = steps(bound.model.params[name])
        inner = " ".join(f"when date >= date '{start}' then {value}" for start, value in dated[:-1])
        rate = f"case {inner} else {dated[-1][1]} end" if inner else str(dated[-1][1])
        branches.append(f"when {text(currency)} then {rate}")
    return f"case coalesce(currency, {text(business.currency)}) {' '.join(branches)} else cast('infinity' as double) end"


def _before_rates(bound: Bound) -> str:
    """SQL: whether a row's day lies before the first known rate of its currency."""
    tests = [
        f"currency = {text(currency)} and date < date '{steps(bound.model.params[name])[-1][0]}'"
        for currency, name in bound.model.business.currencies.items()
        if name is not None
    ]
    return " or ".join(tests)
