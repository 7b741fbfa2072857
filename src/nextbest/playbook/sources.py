"""The shape of input tables."""

from functools import cache
from typing import Annotated, Literal
from unicodedata import category

from pydantic import Field, model_validator

from nextbest.playbook.entry import Name, Strict, Texts

Signs = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Currency → how cells of money write it; '?' stands for any other."""


@cache
def any_sign() -> frozenset[str]:
    """Every character that is the sign of a currency (Unicode's category Sc, of the basic plane)."""
    return frozenset(sign for sign in map(chr, range(0x10000)) if category(sign) == "Sc")


class SourceColumn(Strict):
    """One column of an input table and how to read it."""

    type: Literal["id", "text", "category", "integer", "number", "money", "date", "flag", "list"]
    names: list[str] = Field([], description="headers accepted besides the column's own name")
    required: bool = False
    values: list[str] = Field([], description="known values; others are kept and reported")
    spellings: dict[str, str] = Field({}, description="for `values`: another spelling, or a slip of the pen → the value")
    min: float | None = None
    max: float | None = None
    month_first: bool = Field(False, description="of a date: 08/05/2025 is 5 August")
    thousands: Literal[",", "."] | None = Field(
        None, description="of money, a number: what stands between thousands; without it 1,234 and 1.234 of money are left out as ambiguous"
    )
    meaning: Texts | None = Field(None, description="what people call it; without it its first header stands for it")

    @model_validator(mode="after")
    def _fits_its_type(self) -> "SourceColumn":
        if self.month_first and self.type != "date":
            raise ValueError("month_first is of a date")
        if self.thousands and self.type not in ("money", "number", "integer"):
            raise ValueError("thousands is of money or a number")
        return self


class Source(Strict):
    """One input table: which files hold it, and its columns."""

    files: list[str] = Field(description="file name patterns without extension, e.g. '*transactions*'")
    columns: dict[Name, SourceColumn]
    negative: Literal["keep", "magnitude"] = Field(
        "keep", description="what a negative amount means: a refund (keep), or a sign that repeats the direction"
    )
    made_of: Name | None = Field(
        None, description="of the customers: where there is no file of them, one row for each code in this activity table"
    )
    optional: bool = Field(False, description="an activity table that need not be there: then it has no rows")
    direction: dict[str, list[str]] = Field(
        {}, description="for transfers: direction → its types; it is taken where none is given, and another is told"
    )

    @property
    def code(self) -> str:
        """The column of the code that the rows go by, the first of type id; '' where there is none."""
        return next((name for name, column in self.columns.items() if column.type == "id"), "")
