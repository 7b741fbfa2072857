"""Train: a model learned from all answers, that takes over from the one in charge only through the gate."""

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from nextbest.errors import DataError, Problem, UsageError
from nextbest.measure.gate import Verdict, gate, thirds
from nextbest.models.base import Pairs, make
from nextbest.models.leaks import leaks
from nextbest.services.answers import Answers, read_answers
from nextbest.services.evaluate import split
from nextbest.services.folder import written_whole
from nextbest.services.model_files import CARD, Card, card_of, read_card, write_model
from nextbest.services.progress import Progress, silent

GATES, BASELINE = "gates", "popularity"


@dataclass(frozen=True)
class Trained:
    """What came of a training: the gate's verdict, whether the folder holds the new model now, and what was odd in the files."""

    folder: Path
    card: Card
    verdict: Verdict
    problems: list[dict[str, Any]]


def train(
    data: str | Path,
    playbook: str | Path = "upsell",
    *,
    out: str | Path,
    model: str | None = None,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Trained:
    """Learn from all answers, after the same kind of model has passed the gate on the last round.

    `out` is the folder of the model in charge. Where it holds none, the gate compares with popularity; where it holds one, with
    a model of its kind. Both learn from the rounds before the last and are judged on the last. One that does not pass changes
    nothing but leaves its report in `out/gates`. Raises PlaybookError, DataError, UsageError.
    """
    folder = Path(out)
    champion = _in_charge(folder)
    if model is not None:
        make(model)  # one that is not there is told before anything is read
    with read_answers(data, playbook, as_of=as_of, progress=progress) as answers:
        learning, pairs = answers.learning, answers.answered()
        if suspects := leaks(pairs):
            what = [Problem(f"feature '{item.feature}'", item.why, "leave it out of learn.yaml, `uses` or `pairs`") for item in suspects]
            raise DataError(what)
        name = model or learning.model.model
        progress("standing at the gate", 1, 2)
        verdict = _gate(answers, pairs, name, champion, seed)
        book = learning.book
        days = answers.days()
        card = card_of(
            book,
            "offers",
            name,
            seed=seed,
            numbers=list(pairs.numbers),
            words=list(pairs.words),
            products=answers.products,
            rows=len(pairs),
            taken=int(pairs.taken.sum()),
            figures={check.what: asdict(check)["figure"] for check in verdict.checks}
            | {"features_as_of": {str(day or "the as-of day"): rounds for day, rounds in days.items()}},
            cautions=[*([HINDSIGHT] if None in days else []), *CAUTIONS],
        )
        earlier = {path.name: path.read_bytes() for path in sorted((folder / GATES).glob("*.json"))} if folder.is_dir() else {}
        report = json.dumps({**asdict(verdict), "passes": verdict.passes}, ensure_ascii=False, indent=1) + "\n"
        if verdict.passes:
            progress(f"learning {name}", 2, 2)
            fitted = make(name)
            fitted.fit(pairs, seed)
            if not (folder / CARD).is_file():
                shutil.rmtree(folder / GATES, ignore_errors=True)  # kept above, and written again beside the model
            with written_whole(folder, mark=CARD) as scratch:
                write_model(fitted, card, scratch)
                _keep(scratch / GATES, earlier, report)
        else:
            _keep(folder / GATES, earlier, report)
        return Trained(folder, card, verdict, answers.reading.listed())


def _in_charge(folder: Path) -> str:
    """The kind of model that the folder holds, or the baseline. Raises UsageError for a folder of something else."""
    if (folder / CARD).is_file():
        card = read_card(folder)
        if card.task != "offers":
            raise UsageError([Problem(str(folder), f"holds a model of {card.task}", "name another folder")])
        return card.model
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {GATES}):
        raise UsageError([Problem(str(folder), "there is something else here already", "name a new folder, or an earlier model's")])
    return BASELINE


HINDSIGHT = "Rounds without a date were learned from with the features of the as-of day: what came after an offer is among them."
CAUTIONS = [
    "The customers' own columns are as they were handed in, for every round, and so are holdings, but for what was taken in it or later.",
    "Propensities are of answers like those it learned from: same channel, same kind of offer, same time of year.",
    "Who was asked was not drawn at random: the model knows nothing of people like whom nobody was asked.",
    "A propensity is no effect: who would have taken the offer anyway is in it (see uplift).",
]


def _keep(folder: Path, earlier: dict[str, bytes], report: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in earlier.items():
        (folder / name).write_bytes(content)
    (folder / f"{len(earlier) + 1:04d}.json").write_text(report, encoding="utf-8")


def _gate(answers: Answers, pairs: Pairs, name: str, champion: str, seed: int) -> Verdict:
    before, last = split(pairs)
    found = []
    for kind in (name, champion):
        fitted = make(kind)
        fitted.fit(before, seed)
        found.append(fitted.propensity(last))
    learning = answers.learning
    segments = {column: thirds(last.frame[f"segment.{column}"], last.frame.customer) for column in learning.model.fairness}
    return gate((name, champion), last.frame.customer, last.taken, found[0], found[1], segments, learning.gate, learning.model.top, seed)
