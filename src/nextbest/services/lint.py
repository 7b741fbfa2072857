"""Lint: the editorial rules over anyone's texts."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.files import read_texts
from nextbest.messages.lint import asked, failed_rules
from nextbest.playbook.load import load

COLUMNS = ("push_notification", "message", "text", "сообщение", "текст")


@dataclass(frozen=True)
class Linted:
    """One text with the rules it breaks; `line` is its place among the file's rows, from 1."""

    line: int
    text: str
    failed: list[str]


@dataclass(frozen=True)
class LintResult:
    """All texts, what each rule means, and how many rows hold no text."""

    texts: list[Linted]
    meanings: dict[str, str]
    blank: int = 0

    @property
    def clean(self) -> bool:
        """Whether no text breaks a rule; rows of which none has a text are not clean."""
        return not any(item.failed for item in self.texts) and (bool(self.texts) or not self.blank)


def lint(
    file: str | Path, *, voice: str = "ru", channel: str = "push", playbook: str | Path = "bank-kz", column: str | None = None
) -> LintResult:
    """Lint the texts in a CSV file's column (push_notification, message or text, unless named).

    Raises UsageError for an unknown voice or channel, DataError for a file without such a column.
    """
    model = load(playbook).model
    problems = []
    if voice not in model.voices:
        problems.append(Problem(f"--voice {voice}", "no such voice", f"one of {', '.join(model.voices)}"))
    if channel not in model.channels:
        problems.append(Problem(f"--channel {channel}", "no such channel", f"one of {', '.join(model.channels)}"))
    path = Path(file)
    if not path.is_file():
        problems.append(Problem(str(path), "the file does not exist", "check the path"))
    if problems:
        raise UsageError(problems)
    header, rows = read_texts(path)
    wanted = [column] if column else [name for name in COLUMNS if name in header]
    if not wanted or wanted[0] not in header:
        fix = f"name it with --column; the first line must name the columns, and has {len(header)}"
        raise DataError([Problem(path.name, f"no column {column or ' or '.join(COLUMNS[:3])}", fix)])
    cells = [row[header.index(wanted[0])] if len(row) > header.index(wanted[0]) else "" for row in rows]
    texts = {line: cell for line, cell in enumerate(cells, 1) if cell.strip()}
    failed = failed_of(list(texts.values()), playbook, voice, channel)
    linted = [Linted(line, said, broken) for (line, said), broken in zip(texts.items(), failed, strict=True)]
    return LintResult(linted, asked(model, voice, channel, voice), len(cells) - len(texts))


def failed_of(texts: list[str], playbook: str | Path, voice: str, channel: str) -> list[list[str]]:
    """The rules that each text breaks, in the texts' order."""
    model = load(playbook).model
    with duckdb.connect() as connection:
        connection.execute("create table texts (place integer, message varchar)")
        connection.executemany("insert into texts values (?, ?)", list(enumerate(texts))) if texts else None
        found = connection.execute(f"select {failed_rules(model, voice, channel, 'message')} from texts order by place")
        return [row[0] for row in found.fetchall()]
