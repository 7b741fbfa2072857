"""Nextbest: decides, for every customer, what to offer next, why, worth how much, and in which words.

import nextbest as nb
nb.synth(60, out="bank")
run = nb.decide("bank", as_of="2025-08-31", out="out")
run.recommendations
nb.explain("out", 1)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nextbest.run import Run
    from nextbest.services.activity import predict
    from nextbest.services.check import check, copy
    from nextbest.services.consents import consent, import_consents
    from nextbest.services.counting import count_outcomes
    from nextbest.services.customers import erase_customer, export_customer, prune, suppress_customer
    from nextbest.services.decide import decide
    from nextbest.services.diff import diff
    from nextbest.services.evaluate import evaluate
    from nextbest.services.experiment import experiment
    from nextbest.services.explain import explain
    from nextbest.services.holdouts import held_out
    from nextbest.services.lint import lint
    from nextbest.services.outcomes import import_outcomes
    from nextbest.services.policies import policies
    from nextbest.services.rank import rank
    from nextbest.services.replay import replay
    from nextbest.services.score import score
    from nextbest.services.segments import segments
    from nextbest.services.synth import synth
    from nextbest.services.train import train
    from nextbest.services.uplift import targeting, uplift
    from nextbest.services.verify import verify

__all__ = [
    "Run", "check", "consent", "copy", "count_outcomes", "decide", "diff", "erase_customer", "evaluate", "experiment", "explain",
    "export_customer", "held_out", "import_consents", "import_outcomes", "lint", "policies", "predict", "prune", "rank", "replay", "score",
    "segments", "suppress_customer", "synth", "targeting", "train", "uplift", "verify",
]  # fmt: skip

ELSEWHERE = {
    "Run": "run",
    "consent": "services.consents",
    "copy": "services.check",
    "count_outcomes": "services.counting",
    "erase_customer": "services.customers",
    "export_customer": "services.customers",
    "held_out": "services.holdouts",
    "import_consents": "services.consents",
    "import_outcomes": "services.outcomes",
    "predict": "services.activity",
    "prune": "services.customers",
    "suppress_customer": "services.customers",
    "targeting": "services.uplift",
}
"""Names whose module is not the service of the same name."""


def __getattr__(name: str) -> Any:
    """Each is imported when first used: what all of them stand on takes seconds to load."""
    if name not in __all__:
        raise AttributeError(f"module 'nextbest' has no attribute {name!r}")
    found = getattr(import_module(f"nextbest.{ELSEWHERE.get(name, f'services.{name}')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
