"""Commands that learn from answers. What they need is imported when they run: it takes seconds."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nextbest.cli.shared import Playbook, bar, err, out, told
from nextbest.errors import Problem, UsageError


class Task(StrEnum):
    """What is learned."""

    offers = "offers"
    activity = "activity"
    purchases = "purchases"
    uplift = "uplift"


AsOf = Annotated[str | None, typer.Option(help="the day of the features [default: the latest day in the data]")]
Seed = Annotated[int, typer.Option(help="the same data and seed make the same bytes")]
Data = Annotated[Path, typer.Argument(help="folder with the tables")]


def rank(
    data: Data,
    out_file: Annotated[Path, typer.Option("--out", help="a Parquet or CSV file")],
    playbook: Playbook = "upsell",
    model: Annotated[str | None, typer.Option(help="a kind of model, or a folder that `train` wrote [default: the playbook's]")] = None,
    recommend: Annotated[Path | None, typer.Option(help="also each customer's first products with reasons: a Parquet or CSV file")] = None,
    as_of: AsOf = None,
    seed: Seed = 0,
) -> None:
    """Rank what may be offered to each customer by the probability that it is taken, learned from earlier answers."""
    from nextbest.services.rank import rank as rank_service

    with told():
        with bar() as report:
            done = rank_service(data, playbook, out=out_file, model=model, recommend=recommend, as_of=as_of, seed=seed, progress=report)
        _tell(done.problems)
        out.print(f"{done.pairs} pairs of {done.customers} customers, by {done.model}, as of {done.as_of}", highlight=False)
        written = [done.path, *([recommend] if recommend else []), *([done.rejects] if done.rejects else [])]
        out.print(f"Written: {', '.join(map(str, written))}", highlight=False)


def _tell(problems: list[dict[str, Any]]) -> None:
    """What was odd in the files, beside the results."""
    from nextbest.report import learning as show

    for line in show.problems(problems):
        err.print(line, highlight=False, markup=False)


def evaluate(
    data: Data,
    playbook: Playbook = "upsell",
    model: Annotated[list[str] | None, typer.Option(help="a kind of model; may be repeated [default: all]")] = None,
    labels: Annotated[Path | None, typer.Option(help="answers to judge by; without it the last round is kept back")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="customer, product, true_score, and law_score without the noise: for ceilings only")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", help="places that count [default: the playbook's]")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="folder for figures.json and report.html")] = None,
    as_of: AsOf = None,
    seed: Seed = 0,
) -> None:
    """Judge every model and baseline on answers that none of them saw, with intervals."""
    from nextbest.models.base import BUILT_IN
    from nextbest.report import learning as show
    from nextbest.services.evaluate import evaluate as evaluate_service

    with told():
        chosen = tuple(model or BUILT_IN)
        with bar() as report:
            found = evaluate_service(
                data, playbook, models=chosen, labels=labels, truth=truth, k=k, as_of=as_of, seed=seed, progress=report
            )
        _tell(found.problems)
        out.print(show.evaluation(found))
        if out_folder:
            found.write(out_folder)
            show.write_report(found, out_folder / "report.html")
            out.print(f"Written to {out_folder}: figures.json, report.html", highlight=False)


def train(
    data: Data,
    out_folder: Annotated[Path, typer.Option("--out", help="folder of the model in charge; made on first use")],
    playbook: Annotated[str | None, typer.Option("--playbook", "-p", help="[default: the one made for the task]")] = None,
    task: Annotated[
        Task,
        typer.Option(
            help="offers: who takes what; activity: whose activity will fall; purchases: how often; uplift: what an offer changes"
        ),
    ] = Task.offers,
    model: Annotated[str | None, typer.Option(help="offers: a kind of model [default: the playbook's]")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="activity: how often the cross-validation is repeated")] = 1,
    hold_outs: Annotated[int, typer.Option(min=0, help="activity: judge on so many single splits too")] = 0,
    as_of: Annotated[
        str | None, typer.Option(help="the day of the features; must be said for rows with dates [default, of offers: the latest day]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Learn a model and judge it. One of offers takes over only through the gate; exit code 1 where it does not."""
    from nextbest.report import learning as show
    from nextbest.report.measuring import uplift as uplift_table
    from nextbest.services.activity import train_activity
    from nextbest.services.effects import SHARE, train_effects
    from nextbest.services.purchases import train_purchases
    from nextbest.services.train import train as train_service

    with told():
        if task is Task.purchases:
            if as_of is None:
                raise UsageError([Problem("train", "no day to learn from", "say --as-of 2025-08-31: the end of the data")])
            with bar() as report:
                learned = train_purchases(data, playbook or "shop-invoices", out=out_folder, as_of=as_of, progress=report)
            out.print(show.purchases(learned))
            out.print(f"Written to {out_folder}: the model and card.json", highlight=False)
            return
        if task is Task.uplift:
            with bar() as report:
                changes = train_effects(data, playbook or "shop", out=out_folder, as_of=as_of, seed=seed, progress=report)
            out.print(uplift_table(changes.judged, SHARE))
            out.print(f"Written to {out_folder}: the model and card.json", highlight=False)
            return
        if task is Task.activity:
            with bar() as report:
                found = train_activity(
                    data,
                    playbook or "shop",
                    out=out_folder,
                    repeats=repeats,
                    hold_outs=hold_outs,
                    as_of=as_of,
                    seed=seed,
                    progress=report,
                )
            out.print(show.activity(found))
            out.print(f"Written to {out_folder}: the model, card.json and report.html", highlight=False)
            return
        with bar() as report:
            done = train_service(data, playbook or "upsell", out=out_folder, model=model, as_of=as_of, seed=seed, progress=report)
        _tell(done.problems)
        out.print(show.verdict(done.verdict))
        passes = done.verdict.passes
        came_of_it = "is in charge now" if passes else "did not pass: the model in charge stays"
        out.print(f"{done.card.model} {came_of_it}: {out_folder}", highlight=False)
    if not passes:
        raise typer.Exit(1)


def predict(
    data: Data,
    model: Annotated[Path, typer.Option(help="a folder that `train --task activity` wrote")],
    out_file: Annotated[Path, typer.Option("--out", help="a Parquet file")],
    language: Annotated[str | None, typer.Option(help="language of the reasons [default: the playbook's first]")] = None,
    as_of: Annotated[str | None, typer.Option(help="the day of the features [default: that of the training]")] = None,
    seed: Seed = 0,
) -> None:
    """Whose activity will fall: a probability, an interval and three reasons for each customer."""
    from nextbest.services.activity import predict as predict_service

    with told():
        with bar() as report:
            done = predict_service(data, model, out=out_file, language=language, as_of=as_of, seed=seed, progress=report)
        _tell(done.problems)
        out.print(f"{done.customers} customers, {done.falls} of them worth an offer to keep them", highlight=False)
        written = [done.path, *([done.rejects] if done.rejects else [])]
        out.print(f"Written: {', '.join(map(str, written))}", highlight=False)


COMMANDS = (rank, train, evaluate, predict)
