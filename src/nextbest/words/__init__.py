"""The words of screens and explanations, in each language: `<language>.yaml`. What customers read is in playbooks."""

from functools import cache
from pathlib import Path

import yaml

LANGUAGES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))
FALLBACK = "en"


def say(language: str, key: str, **values: object) -> str:
    """The words of the key with the values in them; in English where the language has no words of its own."""
    return _words(language if language in LANGUAGES else FALLBACK)[key].format(**values)


def withheld(language: str, rule: str) -> str:
    """What held a message back, in words; by its name where it has none of its own."""
    if f"withheld.{rule}" in _words(FALLBACK):
        return say(language, f"withheld.{rule}")
    return say(language, "withheld.rule", rule=rule.replace(":", ": ").replace("_", " "))


@cache
def _words(language: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((Path(__file__).parent / f"{language}.yaml").read_text(encoding="utf-8"))
    return found
