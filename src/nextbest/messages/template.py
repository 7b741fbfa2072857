"""A wording: plain text with {facts} in it. No logic inside: what is true for whom is said by `when`."""

import re

from nextbest.plan.stage import text

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
GREET, MONTH = "greet", "month"
BUILT_IN = (GREET, MONTH)
"""{greet} is the client's name and a comma, or nothing; {month} is 'in August': the last complete month."""


def names(wording: str) -> list[str]:
    """The facts that a wording states, in order, each once."""
    return list(dict.fromkeys(PLACEHOLDER.findall(wording)))


def literals(wording: str) -> str:
    """What stands in a wording beside its facts."""
    return PLACEHOLDER.sub("", wording)


def concatenation(wording: str, columns: dict[str, str]) -> str:
    """SQL that puts the wording together; `columns` maps a fact to the SQL of its text. A fact that is null leaves a gap."""
    pieces = PLACEHOLDER.split(wording)  # texts, and between them the names of facts
    return f"concat({', '.join(columns[piece] if n % 2 else text(piece) for n, piece in enumerate(pieces) if piece)})"


def length(wording: str, columns: dict[str, str]) -> str:
    """SQL of how many characters the wording has; `columns` maps a fact to the SQL of its text's length. Null where a fact is."""
    return " + ".join([str(len(literals(wording))), *(columns[name] for name in PLACEHOLDER.findall(wording))])
