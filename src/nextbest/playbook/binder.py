"""Binds expressions one after another, and gathers what is wrong with them."""

from datetime import date

from nextbest.errors import Problem
from nextbest.playbook.entry import Param
from nextbest.playbook.load import Loaded
from nextbest.playbook.params import value_on
from nextbest.rules.parse import ParamValue, Rule, RuleError, Scope, bind


class Binder:
    """Binds one expression after another and gathers the problems."""

    def __init__(self, loaded: Loaded, as_of: date):
        self.loaded, self.as_of, self.problems = loaded, as_of, list[Problem]()

    def rule(self, text: object, scope: Scope, *path: str) -> Rule:
        """The rule, or null and a problem."""
        try:
            return bind(_text(text), scope)
        except RuleError as error:
            self.say(error.what, error.fix, *path)
            return bind("null", scope)

    def say(self, what: str, fix: str, *path: str) -> None:
        """Note a problem with the entry at `path`."""
        self.problems.append(Problem(f"{self.loaded.where(*path)} ({'.'.join(path)})", what, fix))

    def params(self, params: dict[str, Param], *path: str) -> dict[str, ParamValue]:
        """Each parameter's value in force on the as-of day."""
        values = {}
        for name, param in params.items():
            value = value_on(param, self.as_of)
            if value is None:
                self.say(f"no value on {self.as_of}: the first starts {min(param.values)}", "add the value in force", *path, name)
                value = param.values[min(param.values)]
            values[name] = value
        return values


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
