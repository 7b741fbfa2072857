"""What decisions come from: the same in run.json, in the ledger and online."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb

from nextbest import __version__
from nextbest.playbook.bind import Bound


def provenance(book: Bound, moment: datetime, data: str, seed: int = 0, models: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """`data`: a hash of what was read; `models`: task and hash of each that had a say."""
    business = book.model.business
    return {
        "as_of": book.as_of.isoformat(),
        "moment": moment.isoformat(),
        "seed": seed,
        "playbook": {"name": business.name, "version": business.version, "sha256": book.loaded.hash},
        "data": {"sha256": data},
        **({"models": [dict(model) for model in models]} if models else {}),
        "engine": {"name": "duckdb", "version": duckdb.__version__},
        "nextbest": __version__,
    }


def run_id_of(known: dict[str, Any]) -> str:
    """The same inputs make the same run, whichever version of Nextbest is at work."""
    named = {name: known[name] for name in ("as_of", "moment", "seed", "playbook", "data", "models") if name in known}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
