"""What every command has in common: options, a progress bar, errors told in full."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nextbest.errors import NextbestError
from nextbest.services.progress import Progress as Report

out, err = Console(emoji=False), Console(stderr=True, emoji=False)  # offers/travel-card.yaml:100: is a place

Playbook = Annotated[str, typer.Option("--playbook", "-p", help="a built-in playbook's name, or a folder")]
Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", envvar="NEXTBEST_WORKSPACE", help="folder or postgresql:// URL; made on first use")
]

Needed = Annotated[str, typer.Option("--workspace", "-w", envvar="NEXTBEST_WORKSPACE", help="folder or postgresql:// URL")]


@contextmanager
def told() -> Iterator[None]:
    """Errors that a user can mend are shown in full, without a traceback, with their exit code."""
    try:
        yield
    except NextbestError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "interrupted" not in str(error).lower():
            raise
        err.print("Stopped; no output was written.", style="red")
        raise typer.Exit(130) from None


@contextmanager
def bar() -> Iterator[Report]:
    """A progress bar on stderr; yields what a service reports its stages to."""
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("starting", total=None)

        def report(title: str, place: int, of: int) -> None:
            progress.update(task, description=title, completed=place, total=of)

        try:
            yield report
        except NextbestError:
            if progress.tasks[0].total is None:  # nothing has begun: no bar above what is wrong with the call
                progress.remove_task(task)
            raise
