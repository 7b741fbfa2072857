"""`python -m nextbest` is `nextbest`."""

from nextbest.cli import app

if __name__ == "__main__":
    app()
