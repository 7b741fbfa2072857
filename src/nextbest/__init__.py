"""Nextbest: decides, for every customer, what to offer next, why, worth how much, and in which words.

import nextbest as nb
nb.synth(60, out="bank")
run = nb.decide("bank", as_of="2025-08-31", out="out")
run.recommendations
nb.explain("out", 1)
"""

__version__ = "0.1.0"

from nextbest.run import Run
from nextbest.services.check import check, copy
from nextbest.services.decide import decide
from nextbest.services.explain import explain
from nextbest.services.lint import lint
from nextbest.services.score import score
from nextbest.services.synth import synth

__all__ = ["Run", "check", "copy", "decide", "explain", "lint", "score", "synth"]
