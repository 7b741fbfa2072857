"""The shape of channels.yaml and voice/<lang>.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from nextbest.playbook.entry import Expression, Name, Strict, Texts

LENGTH, AGREEMENT = "length", "agreement"
"""The rules that every voice has: the channel's range of characters, and numbers that agree with their words."""
Pattern = Annotated[str, Field(min_length=1)]


class Channel(Strict):
    """One way to reach a customer, and what its texts look like."""

    length: tuple[int, int] = Field(description="fewest and most characters")
    sign: str = Field(description="currency sign")


class Tokens(Strict):
    """Pieces of a text that a lint rule looks at, and those that are let through."""

    find: Pattern
    allow: list[str] = []
    allow_pattern: str | None = None


class LintRule(Strict):
    """One editorial rule as a pattern (RE2). A text passes where `forbid` is not found, `require` is found,
    `at_most` is found no more often than said, and every token of `tokens` is allowed."""

    dimension: Literal["personalisation", "tone", "clarity", "format"]
    meaning: Texts
    forbid: list[Pattern] = []
    require: Pattern | None = None
    at_most: dict[Pattern, Annotated[int, Field(ge=0)]] = {}
    tokens: Tokens | None = None
    channels: list[str] = Field([], description="empty: every channel")
    good: list[str] = Field([], description="texts that must pass")
    bad: list[str] = Field(description="texts that must fail")


class Voice(Strict):
    """voice/<lang>.yaml: how the business speaks in one language."""

    language: str
    thousands: str
    decimal: str
    plural: Expression = Field(description="over n: which of a word's forms goes with the number, from 1")
    plural_patterns: list[str] = Field(description="per form, the numbers (as text) that take it; for the linter")
    words: dict[Name, list[str]] = Field(description="countable words, each in all its plural forms")
    genitive_after: list[str] = Field([], description="words after which a counted word does not follow its number")
    months: Annotated[list[str], Field(min_length=12, max_length=12, description="'in March', from January")]
    period: dict[Literal["last_month", "horizon", "monthly"], str] = Field(
        description="the words that name the period of a figure; {month} stands for the last complete month"
    )
    labels: dict[str, dict[str, str]] = Field({}, description="phrases for category names, by table of forms")
    lint: dict[Name, LintRule]
