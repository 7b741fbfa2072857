"""Experiment: a file of customers or of sums per arm in; effects with intervals, and whether they can be trusted, out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import PARQUET
from nextbest.intake.scan import csv, parquet
from nextbest.measure.experiments import Arm, Guarded, Reading, holm, read, sample_ratio, shrunken
from nextbest.measure.randomisation import ALARM
from nextbest.plan.stage import quote

SUMS = ("n", "sum", "sum_squares")
Row = tuple[str | None, str, int, float, float, float, float, float]


@dataclass(frozen=True)
class Experiment:
    """What came of an experiment: treatment → its effect against control. `p` is adjusted for their number (Holm).

    `left_out`: customers without an arm, an outcome or a covariate.
    """

    control: str
    arms: Mapping[str, Arm]
    effects: Mapping[str, Reading]
    p: Mapping[str, float]
    sample_ratio: float
    segments: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)
    guardrails: Mapping[str, Mapping[str, Guarded]] = field(default_factory=dict)
    left_out: int = 0

    @property
    def harmful(self) -> bool:
        """Whether some treatment breaks a guardrail."""
        return any(item.verdict == "broken" for figures in self.guardrails.values() for item in figures.values())

    @property
    def trusted(self) -> bool:
        """Whether the arms have the sizes they should have. Where not, no effect can be believed."""
        return self.sample_ratio >= ALARM


def experiment(
    file: str | Path,
    *,
    control: str,
    arm: str = "arm",
    outcome: str | None = None,
    covariate: str | None = None,
    segment: str | None = None,
    shares: Mapping[str, float] | None = None,
    planned: int | None = None,
    guardrails: Mapping[str, float] | None = None,
) -> Experiment:
    """Read out a CSV or Parquet file: one row per customer (then `outcome` names a column), or sums per arm.

    Sums stand in columns n, sum, sum_squares, and for a covariate covariate, covariate_squares, products. `shares` are those that
    were planned, equal by default; `segment` names a column whose values are read apart and drawn together. `planned`: customers
    expected in all, where the experiment is looked at before its end. `guardrails`: column → by how much it may rise at most (above 0),
    or fall (below 0). Raises DataError, UsageError.
    """
    path = Path(file)
    table = _sums(path, arm, outcome, covariate, segment)
    arms, by_segment = _arms(table)
    if control not in arms or len(arms) < 2:
        raise UsageError([Problem(f"control '{control}'", "no such arm, or no other", f"the arms: {', '.join(sorted(arms))}")])
    if small := [name for name, item in arms.items() if item.n < 2]:
        raise DataError([Problem(path.name, f"arm {', '.join(small)}: fewer than two customers", "each arm needs two or more")])
    if odd := [name for name, item in arms.items() if not item.possible]:
        what = f"arm {', '.join(odd)}: sums that no customers can have"
        raise DataError([Problem(path.name, what, "finite numbers; n × sum_squares is at least the square of sum")])
    if planned is not None and planned < sum(item.n for item in arms.values()):
        raise UsageError([Problem(f"planned {planned}", "fewer customers than there are already", "say how many there will be in all")])
    if shares is not None and (shares.keys() != arms.keys() or not all(share > 0 for share in shares.values())):
        raise UsageError(
            [Problem("shares", f"do not give each of {', '.join(sorted(arms))} a share above 0", "e.g. control=0.9, offer=0.1")]
        )
    treatments = sorted(name for name in arms if name != control)
    effects = {name: read(arms[control], arms[name], planned=planned) for name in treatments}
    adjusted = dict(zip(treatments, holm([effects[name].fixed.p for name in treatments]), strict=True))
    ratio = sample_ratio({name: item.n for name, item in arms.items()}, shares or dict.fromkeys(arms, 1 / len(arms)))
    apart = {}
    for name in treatments if segment else ():
        both = {
            part: read(found[control], found[name]).fixed
            for part, found in sorted(by_segment.items())
            if control in found and name in found and min(found[control].n, found[name].n) >= 2
        }
        if len(both) > 1:
            apart[name] = shrunken(both)
    guarded: dict[str, dict[str, Guarded]] = {name: {} for name in treatments}
    for column, limit in (guardrails or {}).items():
        if outcome is None or not limit or not math.isfinite(limit):
            fix = "a row per customer, and COLUMN=0.002 (may rise by so much) or COLUMN=-0.002 (may fall by so much)"
            raise UsageError([Problem(f"guardrail {column}", "needs a row per customer, and a limit that is not 0", fix)])
        figures, _ = _arms(_sums(path, arm, column, None, None))
        if few := [name for name in arms if name not in figures or figures[name].n < arms[name].n]:
            what = f"is blank in rows of {', '.join(few)}"
            raise DataError(
                [Problem(f"guardrail {column}", what, "write 0 where nothing happened: who has no figure may be who was harmed")]
            )
        for name in treatments:
            reading = read(figures[control], figures[name], planned=planned)
            guarded[name][column] = Guarded(limit, reading.anytime or reading.fixed)
    left_out = sum(int(count) for name, _, count, *_ in table if name is None)
    return Experiment(control, arms, effects, adjusted, ratio, apart, guarded if guardrails else {}, left_out)


def _arms(table: list[Row]) -> tuple[dict[str, Arm], dict[str, dict[str, Arm]]]:
    """The arms, and the arms of each segment."""
    arms: dict[str, Arm] = {}
    by_segment: dict[str, dict[str, Arm]] = {}
    for name, part, *numbers in table:
        if name is None:
            continue
        found = Arm(int(numbers[0]), *(float(number or 0) for number in numbers[1:]))
        arms[name] = arms[name] + found if name in arms else found
        by_segment.setdefault(part, {})[name] = found
    return arms, by_segment


def _sums(path: Path, arm: str, outcome: str | None, covariate: str | None, segment: str | None) -> list[Row]:
    """Arm, segment, and the sums, by arm and segment."""
    if not path.is_file():
        raise UsageError([Problem(str(path), "the file does not exist", "name a CSV or Parquet file")])
    # With an offset DuckDB 2 reads a column as what it is, true or false, before it is cast: without, it reads a number at once, and fails.
    scan = parquet(path) if path.suffix in PARQUET else f"(from {csv(path, how='')} offset 0)"
    with duckdb.connect() as connection:
        try:
            columns = {str(row[0]) for row in connection.execute(f"describe select * from {scan}").fetchall()}
            asked = [name for name in (arm, segment, *((outcome, covariate) if outcome else SUMS)) if name]
            if missing := [name for name in asked if name not in columns]:
                fix = "name the columns: --arm, --outcome, or bring n, sum, sum_squares"
                raise DataError([Problem(path.name, f"lacks the columns {', '.join(missing)}", fix)])
            part = f"cast({quote(segment)} as varchar)" if segment else "''"
            by = f"cast({quote(arm)} as varchar), {part}"
            if outcome:  # rows without an arm, an outcome or a covariate come apart, with null for an arm
                y, x = f"cast({quote(outcome)} as double)", f"cast({quote(covariate)} as double)" if covariate else "0.0"
                numbers = f"count(*), sum({y}), sum({y} * {y}), sum({x}), sum({x} * {x}), sum({x} * {y})"
                by = f"case when {y} is not null and {x} is not null then cast({quote(arm)} as varchar) end, {part}"
            else:
                more = [name if name in columns else "0" for name in ("covariate", "covariate_squares", "products")]
                numbers = ", ".join(f"sum({name})" for name in (*SUMS, *more))
            rows = connection.execute(f"select {by}, {numbers} from {scan} group by all order by all").fetchall()
        except duckdb.Error as error:
            what = f"cannot be read as numbers per arm ({type(error).__name__})"
            raise DataError([Problem(path.name, what, "one row per customer, or per arm with n, sum, sum_squares")]) from error
    return [(name, str(part), *numbers) for name, part, *numbers in rows]
