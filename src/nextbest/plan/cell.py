"""Read one cell as a value of its column's type: SQL over the cell as it was written."""

import re

from nextbest.plan.stage import text
from nextbest.playbook.sources import Signs, SourceColumn

_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


def _dates(first: str, second: str) -> dict[str, list[str]]:
    """What a date looks like → its formats, beside ISO 8601."""
    return {
        r"^[0-9]{4}[-/.]?[0-9]{2}": ["%Y.%m.%d", "%Y/%m/%d", "%Y%m%d"],
        **{
            rf"^[0-9]{{1,2}}[./-][0-9]{{1,2}}[./-][0-9]{{{digits}}}([^0-9]|$)": [
                f"{first}{mark}{second}{mark}{year}{time}" for mark in "./-" for time in _TIMES
            ]
            for digits, year in ((4, "%Y"), (2, "%y"))
        },
    }


DAY_FIRST, MONTH_FIRST = _dates("%d", "%m"), _dates("%m", "%d")
"""Days come before months, as everywhere in the region, unless the column says otherwise."""

AMBIGUOUS = r"^[-+]?[1-9][0-9]{0,2}[.,][0-9]{3}$"
"""`1,234` or `1.234`: a thousand or one."""
GROUPED = r"^[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+$"

LARGEST = 1 << 53
"""From here on a double does not tell a number from the next; whatever is as large is no number of anybody's."""

_SPACES = r"[\s\x{a0}\x{202f}\x{2009}']"
_PLAIN = "[-+0-9.,\\s]*"
"""A cell in which no sign of a currency can be."""
NO_SIGNS: Signs = {}


def parsed(column: SourceColumn, raw: str, native: str | None, signs: Signs = NO_SIGNS) -> str:
    """`raw` as a value of the column's type, null where it is not one. `native`: its type in a Parquet file. `signs`: of money."""
    if native not in (None, "VARCHAR"):
        return _from_native(column, raw, str(native))
    trimmed = f"nullif(trim({raw}, ' \t\u00a0'), '')"
    match column.type:
        case "id":
            return f"regexp_replace({trimmed}, '^([0-9]+)\\.0+$', '\\1')"
        case "category":
            return _category(column, trimmed)
        case "integer":
            # Whole years, points: what has not come yet does not count, and no number is no number.
            number = _number(trimmed, column.thousands)
            # `34,000` is hardly 34 and a bit.
            grouped = "" if column.thousands else f" and not regexp_matches({trimmed}, {text(GROUPED)})"
            return f"case when isfinite({number}){grouped} then try_cast(floor({number}) as integer) end"
        case "number":
            number = _number(trimmed, column.thousands)
            return f"case when abs({number}) < {LARGEST} then {number} end"
        case "money":
            return _amount(trimmed, column.thousands, signs)
        case "date":
            return _date(trimmed, MONTH_FIRST if column.month_first else DAY_FIRST)
        case "flag":
            yes, no = "'1', 'true', 't', 'yes', 'y', 'да'", "'0', 'false', 'f', 'no', 'n', 'нет'"
            return f"case when lower({trimmed}) in ({yes}) then true when lower({trimmed}) in ({no}) then false end"
        case "list":
            # Also as other programs write lists: ["a", "b"], {a, b}.
            bare = f"regexp_replace({trimmed}, '^[\\[{{(]|[\\]}})]$', '', 'g')"
            items = f"list_transform(string_split_regex({bare}, '[;|,]'), lambda x: lower(trim(x, ' \t\"''«»')))"
            return f"list_filter({items}, lambda x: x <> '')"
        case _:
            return trimmed


def _from_native(column: SourceColumn, raw: str, native: str) -> str:
    if column.type == "number" and native.startswith(("DOUBLE", "FLOAT")):
        return f"case when abs({raw}) < {LARGEST} then cast({raw} as double) end"
    kinds = {"integer": "integer", "number": "double", "money": "decimal(18, 2)", "date": "timestamp", "flag": "boolean"}
    if column.type == "integer" and native.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        return f"case when isfinite(cast({raw} as double)) then try_cast(floor({raw}) as integer) end"
    if column.type in ("integer", "number", "money") and native.startswith(("BOOLEAN", "DATE", "TIME")):
        return f"cast(null as {kinds[column.type]})"
    if column.type == "date" and _is_number(native):  # 20250831
        day = f"case when {raw} = floor({raw}) and {raw} >= 10000101 then cast(try_cast({raw} as bigint) as varchar) end"
        return parsed(column, day, None)
    if column.type == "flag" and _is_number(native):  # a 2 is no yes
        return f"case when {raw} = 1 then true when {raw} = 0 then false end"
    if column.type in kinds:
        return f"try_cast({raw} as {kinds[column.type]})"
    if column.type == "list" and native.endswith("[]"):
        return f"list_transform({raw}, lambda x: lower(trim(cast(x as varchar))))"
    if column.type == "id" and native.endswith(("INT", "INTEGER")):
        return f"cast({raw} as varchar)"
    if column.type == "id" and native in ("DOUBLE", "FLOAT"):  # a column of whole numbers with a gap in it
        whole = f"isfinite({raw}) and {raw} = floor({raw})"
        return f"case when {whole} then cast(try_cast({raw} as hugeint) as varchar) else cast({raw} as varchar) end"
    return parsed(column, f"cast({raw} as varchar)", None)


def _is_number(native: str) -> bool:
    return native.endswith(("INT", "INTEGER")) or native.startswith(("DOUBLE", "FLOAT", "DECIMAL"))


def enumeration(column: SourceColumn) -> str:
    """The type of a category with known values; '?' stands for any other."""
    return f"enum({', '.join(text(value) for value in column.values)}, '?')"


def _category(column: SourceColumn, trimmed: str) -> str:
    """A known value in the playbook's spelling, whatever the case, and '?' for any other; as it stands without a list."""
    if not column.values:
        return trimmed
    known = {value.lower(): value for value in column.values} | {other.lower(): value for other, value in column.spellings.items()}
    spelling = ", ".join(f"{text(other)}: {text(value)}" for other, value in known.items())
    kind = enumeration(column)  # in each branch: values that go through text and back take three times as long
    folded = f"try_cast(map {{{spelling}}}[lower({trimmed})] as {kind})"
    return f"coalesce(try_cast({trimmed} as {kind}), {folded}, case when {trimmed} is not null then cast('?' as {kind}) end)"


def _date(trimmed: str, known: dict[str, list[str]]) -> str:
    branches: list[str] = []
    for pattern, formats in known.items():
        listed = ", ".join(text(item) for item in formats)
        value = f"try_strptime({trimmed}, [{listed}])"
        if not branches:
            value = f"coalesce(try_cast({trimmed} as timestamp), {value})"
        branches.append(f"when regexp_matches({trimmed}, {text(pattern)}) then {value}")
    return f"case {' '.join(branches)} end"


def _number(trimmed: str, thousands: str | None) -> str:
    """A plain number, with a decimal comma too; where it is said what stands between thousands, that mark is no decimal one."""
    plain = _marked(trimmed, thousands) if thousands else f"replace({trimmed}, ',', '.')"
    return f"try_cast({plain} as double)"


def _marked(value: str, thousands: str) -> str:
    """A number whose marks are known: 1,234 or 1,234,567.8 or 1234.5; null where a mark stands elsewhere."""
    decimal = "," if thousands == "." else "."
    pattern = rf"^[-+]?([0-9]+|[1-9][0-9]{{0,2}}(\{thousands}[0-9]{{3}})+)(\{decimal}[0-9]+)?$"
    return f"case when regexp_matches({value}, {text(pattern)}) then replace(replace({value}, '{thousands}', ''), '{decimal}', '.') end"


def signed(column: SourceColumn, signs: Signs) -> SourceColumn:
    """The column of a row's currency, where a sign may stand for the name."""
    spellings = {sign: currency for currency, among in signs.items() for sign in among}
    return column.model_copy(update={"spellings": spellings | column.spellings})


def agreed(column: SourceColumn, written: str, amount: str, signs: Signs) -> str:
    """SQL: a row's currency: as it is written, or where it is not as the sign at the amount says; unknown where they differ."""
    sign = f"cast({_currency_of(amount, signs)} as {enumeration(column)})"
    return f"case when coalesce({written} = {sign}, true) then coalesce({written}, {sign}) else cast('?' as {enumeration(column)}) end"


def _currency_of(raw: str, signs: Signs) -> str:
    """SQL: the currency whose sign stands before or behind the number in a cell of money as text; null where none does.

    '?' where it is written in other letters of the same fold: (?i) takes ſ for s, lower() does not.
    """
    known = {sign.lower(): currency for currency, among in signs.items() for sign in among}
    named = ", ".join(f"{text(sign)}: {text(currency)}" for sign, currency in known.items())
    sign = f"lower(ltrim(regexp_extract({_bare(raw)}, {text(_at_the_ends(signs))}), '-+'))"
    return f"case when not regexp_full_match({raw}, {text(_PLAIN)}) and {sign} <> '' then coalesce(map {{{named}}}[{sign}], '?') end"


def _at_the_ends(signs: Signs) -> str:
    longest_first = sorted((sign for among in signs.values() for sign in among), key=len, reverse=True)
    either = "|".join(re.escape(sign) for sign in longest_first)
    return f"(?i)^([-+]?)(?:{either})|(?:{either})$"


def amount_in(cell: str, signs: Signs) -> str:
    """SQL: an amount as it is written, without spaces and without the sign of its currency."""
    bare = _bare(cell)
    return f"regexp_replace({bare}, {text(_at_the_ends(signs))}, '\\1')" if signs else bare


def _bare(cell: str) -> str:
    return f"replace(regexp_replace({cell}, {text(_SPACES)}, '', 'g'), '−', '-')"


def _amount(trimmed: str, thousands: str | None, signs: Signs) -> str:
    """Amounts with spaces, one sign of a currency, a decimal comma or grouped thousands.

    `1,234` and `1.234` are ambiguous and stay null, unless it is known what stands between thousands.
    """
    bare = amount_in(trimmed, signs)
    cases = [
        (AMBIGUOUS, "null"),
        (r"^[-+]?[0-9]+(\.[0-9]+)?$", bare),
        (r"^[-+]?[0-9]+,[0-9]+$", f"replace({bare}, ',', '.')"),
        (r"^[-+]?[0-9]{1,3}(,[0-9]{3})+\.[0-9]+$", f"replace({bare}, ',', '')"),
        (r"^[-+]?[0-9]{1,3}(,[0-9]{3}){2,}$", f"replace({bare}, ',', '')"),
        (r"^[-+]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+$", f"replace(replace({bare}, '.', ''), ',', '.')"),
        (r"^[-+]?[0-9]{1,3}(\.[0-9]{3}){2,}$", f"replace({bare}, '.', '')"),
    ]
    branches = " ".join(f"when regexp_matches({bare}, {text(pattern)}) then {value}" for pattern, value in cases)
    value = _marked(bare, thousands) if thousands else f"case {branches} end"
    return f"try_cast({value} as decimal(18, 2))"


def empty(column: SourceColumn) -> str:
    """The type of a column that the files lack."""
    kinds = {
        "integer": "integer",
        "number": "double",
        "money": "decimal(18, 2)",
        "date": "timestamp",
        "flag": "boolean",
        "list": "varchar[]",
    }
    return enumeration(column) if column.type == "category" and column.values else kinds.get(column.type, "varchar")
