"""What the entries of every playbook file are made of."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Expression = Annotated[str | int | float | bool, Field(description="one SQL expression of the rule language")]
Texts = Annotated[dict[str, str], Field(description="language code → text", min_length=1)]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Strict(BaseModel):
    """A record of a playbook file: unknown keys are errors, so that a typing slip never goes unread."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Param(Strict):
    """A number with its unit, the day each value starts to hold, and where it comes from."""

    unit: str
    values: Annotated[dict[date, float | int | bool | str], Field(min_length=1)]
    source: str
    sample: bool = Field(False, description="true where the business has not yet given its own value")


class Example(Strict):
    """A worked example: these inputs (all others 0, empty or unknown), that result. Runs as a test."""

    name: str
    given: dict[str, float | int | bool | str | list[str] | None]
    expect: dict[str, float | int | bool | str | None]


class Condition(Strict):
    """A rule that must hold, and what to say where it does not."""

    when: Expression
    reason: Texts = Field(alias="else")
