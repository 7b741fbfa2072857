"""Commands that measure: experiments before and after, uplift. What they need is imported when they run: it takes seconds."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from nextbest.cli.shared import out, told
from nextbest.errors import Problem, UsageError

experiment_app = typer.Typer(help="Plan an experiment, and read it out.", no_args_is_help=True)
Rate = Annotated[float, typer.Option(help="share of customers who do it without the treatment, e.g. 0.05")]
Power = Annotated[float, typer.Option(help="chance to find an effect that is there")]
Alpha = Annotated[float, typer.Option(help="chance to find one that is not")]
Share = Annotated[float, typer.Option(help="share of customers who are treated")]


@experiment_app.command()
def size(
    rate: Rate,
    lift: Annotated[float, typer.Option(help="the smallest relative lift worth finding, e.g. 0.1")],
    power: Power = 0.8,
    alpha: Alpha = 0.05,
    share: Share = 0.5,
) -> None:
    """How many customers it takes, both arms together."""
    from nextbest.measure import experiments

    with told():
        try:
            out.print(f"{experiments.sample_size(rate, lift, alpha=alpha, power=power, share=share)} customers", highlight=False)
        except ValueError as error:
            raise UsageError([Problem("experiment size", str(error), "e.g. --rate 0.05 --lift 0.1")]) from None


@experiment_app.command()
def detectable(
    rate: Rate,
    customers: Annotated[int, typer.Option(help="customers in both arms together")],
    power: Power = 0.8,
    alpha: Alpha = 0.05,
    share: Share = 0.5,
) -> None:
    """The smallest relative lift that so many customers can show."""
    from nextbest.measure import experiments

    with told():
        if not (0 < rate < 1 and customers > 3 and 0 < share < 1):
            raise UsageError([Problem("experiment detectable", "rate and share lie between 0 and 1, customers above 3", "")])
        out.print(f"{experiments.detectable(rate, customers, alpha=alpha, power=power, share=share):.1%}", highlight=False)


@experiment_app.command()
def assign(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a row per customer")],
    arm: Annotated[list[str], typer.Option(help="an arm and its share, ARM=0.5; for every arm")],
    name: Annotated[str, typer.Option(help="of the experiment: another name draws anew")],
    out_file: Annotated[Path, typer.Option("--out", help="a CSV or Parquet file; who stands in it already keeps the arm")],
    code: Annotated[str | None, typer.Option(help="the column of the customer's code [default: the first]")] = None,
    group: Annotated[list[str] | None, typer.Option(help="a column in whose groups the arms keep their shares; may be repeated")] = None,
) -> None:
    """Give each customer an arm, for good."""
    from nextbest.services.assignment import assign as assign_service

    with told():
        done = assign_service(
            file, out=out_file, arms=_numbers(arm, "--arm", "control=0.5"), experiment=name, code=code, groups=tuple(group or ())
        )
        out.print(", ".join(f"{name}: {count}" for name, count in done.arms.items()), highlight=False)
        out.print(f"Written: {done.path}" + (f"; {done.kept} were in it before" if done.kept else ""), highlight=False)


def _pairs(items: list[str], option: str, example: str) -> dict[str, str]:
    """NAME=TEXT, several times over."""
    found = {}
    for item in items:
        name, _, written = item.rpartition("=")
        if name in found:
            raise UsageError([Problem(f"{option} {name}", "stands twice", "say it once")])
        if not name or not written:
            raise UsageError([Problem(f"{option} {item}", f"not {example}", f"e.g. {option} {example}")])
        found[name] = written
    return found


def _numbers(items: list[str], option: str, example: str) -> dict[str, float]:
    """NAME=0.5, several times over."""
    found = {name: _amount(written) for name, written in _pairs(items, option, example).items()}
    for name, number in found.items():
        if isinstance(number, str) or not math.isfinite(number):
            raise UsageError([Problem(f"{option} {name}={number}", f"not {example}", f"e.g. {option} {example}")])
    return {name: float(number) for name, number in found.items()}


@experiment_app.command()
def read(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a row per customer, or n, sum, sum_squares per arm")],
    control: Annotated[str, typer.Option(help="the arm to compare with")],
    arm: Annotated[str, typer.Option(help="the column of the arm")] = "arm",
    outcome: Annotated[str | None, typer.Option(help="the column of the outcome, where each row is a customer")] = None,
    covariate: Annotated[str | None, typer.Option(help="a column known before the start: it narrows the interval (CUPED)")] = None,
    segment: Annotated[str | None, typer.Option(help="a column whose values are read apart, drawn together")] = None,
    share: Annotated[list[str] | None, typer.Option(help="planned share of an arm, ARM=0.9; for every arm [default: equal]")] = None,
    planned: Annotated[int | None, typer.Option(help="customers expected in all, where this is a look before the end")] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(help="a column that must not get worse: refunds=0.01 may rise, visits=-0.01 fall by so much at most")
    ] = None,
) -> None:
    """Effects with intervals. Exit code 1 where the arms have not the sizes they should have, or a guardrail is broken."""
    from nextbest.report import measuring as show
    from nextbest.services.experiment import experiment as experiment_service

    with told():
        found = experiment_service(
            file,
            control=control,
            arm=arm,
            outcome=outcome,
            covariate=covariate,
            segment=segment,
            shares=_numbers(share or [], "--share", "control=0.9") or None,
            planned=planned,
            guardrails=_numbers(guardrail or [], "--guardrail", "refunds=0.01"),
        )
        out.print(show.experiment(found))
    if not found.trusted or found.harmful:
        raise typer.Exit(1)


@experiment_app.command()
def policies(
    workspace: Annotated[str, typer.Argument(help="the workspace: a folder, or postgresql://…")],
    playbook: Annotated[str | None, typer.Option("--playbook", "-p", help="whose decisions [default: the only one there]")] = None,
    event: Annotated[str, typer.Option(help="the answer that counts: accepted, clicked, …")] = "accepted",
    until: Annotated[str | None, typer.Option(help="the day to which answers are known [default: of the latest answer]")] = None,
) -> None:
    """What another way of choosing would have earned, from the records of a playbook that explores."""
    from nextbest.report import measuring as show
    from nextbest.services.policies import policies as policies_service

    with told():
        out.print(show.policies(policies_service(workspace=workspace, playbook=playbook, event=event, until=until)))


def segments(
    run: Annotated[Path, typer.Argument(help="an output folder of decide")],
    out_folder: Annotated[Path | None, typer.Option("--out", help="folder for report.html, members.parquet, found.yaml")] = None,
    language: Annotated[str | None, typer.Option(help="language of the page [default: the playbook's first]")] = None,
    seed: Annotated[int, typer.Option(help="the same run and seed give the same groups")] = 0,
) -> None:
    """The groups of a run, declared and found: worth, risk, how they differ, and what to offer each."""
    from nextbest.report import segments as show
    from nextbest.services.folder import written_whole
    from nextbest.services.segments import MEMBERS
    from nextbest.services.segments import segments as segments_service

    with told():
        found = segments_service(run, language=language, seed=seed)
        out.print(show.table(found))
        if out_folder:
            with written_whole(out_folder, mark=MEMBERS) as scratch:
                found.write(scratch)
                show.write_page(found, scratch / "report.html")
            out.print(f"Written to {out_folder}: report.html, members.parquet, found.yaml", highlight=False)


def uplift(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a row per customer of an experiment")],
    treatment: Annotated[str, typer.Option(help="the column of the arm")],
    control: Annotated[str, typer.Option(help="the arm that got nothing")],
    outcome: Annotated[str, typer.Option(help="the column of the outcome")],
    leave_out: Annotated[list[str] | None, typer.Option(help="a column that is no feature (a code); may be repeated")] = None,
    share: Annotated[float, typer.Option(help="uplift among the first so many")] = 0.3,
    value: Annotated[str | None, typer.Option(help="what one unit of the outcome is worth: a number or a column; with --cost")] = None,
    cost: Annotated[list[str] | None, typer.Option(help="ARM=NUMBER or ARM=COLUMN, once for each treatment; with --value")] = None,
    seed: Annotated[int, typer.Option(help="the same file and seed give the same figures")] = 0,
) -> None:
    """Which learner orders customers best by what an offer changes, or with --value and --cost what it earns to follow each."""
    from nextbest.report import measuring as show
    from nextbest.services import uplift as service

    with told():
        columns: dict[str, Any] = {
            "treatment": treatment,
            "control": control,
            "outcome": outcome,
            "leave_out": tuple(leave_out or ()),
            "seed": seed,
        }
        if value is None and not cost:
            out.print(show.uplift(service.uplift(file, share=share, **columns), share))
            return
        if value is None or not cost:
            raise UsageError([Problem("--value and --cost", "stand together", "name both, or neither")])
        costs = {arm: _amount(amount) for arm, amount in _pairs(cost, "--cost", "mail=0.5").items()}
        out.print(show.targeting(service.targeting(file, value=_amount(value), cost=costs, **columns)))


def _amount(written: str) -> float | str:
    """A number, or else the name of a column."""
    try:
        return float(written)
    except ValueError:
        return written
