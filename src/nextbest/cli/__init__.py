"""The command line: one command, one service call."""

from nextbest.cli.main import app

__all__ = ["app"]
