"""A trained model on disk: plain JSON, and its card. Nothing in it is executed when it is read."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nextbest import __version__
from nextbest.errors import Problem, UsageError
from nextbest.models.base import Model, make
from nextbest.playbook.bind import Bound

STATE, CARD = "model.json", "card.json"
PIPELINES, SEEN = "pipelines.skops", "seen.parquet"
"""Models of scikit-learn, and the rows that they learned from."""
TRUSTED = [
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "nextbest.models.two_groups.TwoGroups",
]
"""Types beyond skops' own list that our models hold. None runs code when it is read."""


@dataclass(frozen=True)
class Card:
    """What a model is: of what it was made, for what it is good, and how good it was when it was tried."""

    task: str
    model: str
    playbook: str
    playbook_hash: str
    as_of: str
    seed: int
    numbers: list[str]
    words: list[str]
    products: list[str]
    rows: int
    taken: int
    figures: dict[str, Any] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)
    version: str = __version__


def card_of(book: Bound, task: str, model: str, **rest: Any) -> Card:
    """A card of a model that was learned with a playbook bound for a day."""
    return Card(
        task=task,
        model=model,
        playbook=book.model.business.name,
        playbook_hash=book.loaded.hash,
        as_of=str(book.as_of),
        **rest,
    )


def by_playbook(folders: Iterable[str | Path], playbooks: Iterable[str]) -> dict[str, list[Path]]:
    """Folders of models that a server can ask, by the name of the playbook that they were learned with.

    Raises UsageError for a model of another playbook, and for one of offers: it reads tables that nobody hands in to a server.
    """
    found: dict[str, list[Path]] = {name: [] for name in playbooks}
    problems = []
    for folder in map(Path, folders):
        card = read_card(folder)
        if card.playbook not in found:
            what = f"was learned with the playbook '{card.playbook[:40]}', which is not served"
            problems.append(Problem(str(folder), what, f"serve that one too, or leave the model out; served: {', '.join(found)}"))
        elif card.task == "offers":
            what = "is a model of offers: it reads tables that a server does not take"
            problems.append(Problem(str(folder), what, "hand in what it says as columns of the customers"))
        else:
            found[card.playbook].append(folder)
    if problems:
        raise UsageError(problems)
    return found


def write_model(model: Model, card: Card, folder: Path) -> None:
    """Write both files into the folder."""
    write_json(folder, {STATE: model.state(), CARD: asdict(card)})


def write_json(folder: Path, files: Mapping[str, Any]) -> None:
    """Write each as JSON into the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card of a model's folder. Raises UsageError where it is none."""
    try:
        return Card(**json.loads((folder / CARD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise UsageError([Problem(str(folder), "not a folder that `nextbest train` wrote", "name the folder given as --out")]) from None


def fits(card: Card, task: str, numbers: Iterable[str], words: Iterable[str]) -> None:
    """Raises UsageError where the model is of another task, or was trained on other features than the playbook names now."""
    if card.task != task:
        raise UsageError([Problem("model", f"is one of {card.task}, not of {task}", "name a folder that `nextbest train` wrote")])
    if changed := sorted((set(numbers) ^ set(card.numbers)) | (set(words) ^ set(card.words))):
        what = f"was trained on other features than the playbook has now: {', '.join(changed)}"
        raise UsageError([Problem("model", what, "train it again")])


def read_model(folder: Path) -> tuple[Model, Card]:
    """The model and its card. Raises UsageError."""
    card = read_card(folder)
    model = make(card.model)
    try:
        model.restore(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError([Problem(str(folder / STATE), "the model cannot be read", "train it again")]) from None
    return model, card
