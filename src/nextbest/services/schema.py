"""Schema: JSON schemas of a playbook's files, for editors and forms."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nextbest.playbook.entry import Param
from nextbest.playbook.learning import Learn
from nextbest.playbook.model import Business, Features, Offer, Segment, Signal
from nextbest.playbook.policy import Contact
from nextbest.playbook.speech import Channel, Voice

FILES: dict[str, Any] = {
    "playbook": Business,
    "features": Features,
    "params": dict[str, Param],
    "signals": dict[str, Signal],
    "segments": dict[str, Segment],
    "contact": Contact,
    "channels": dict[str, Channel],
    "learn": Learn,
    "voice": Voice,
    "offer": Offer,
}


def schema(folder: str | Path) -> list[Path]:
    """Write one JSON schema per kind of file; returns the paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, kind in FILES.items():
        path = target / f"{name}.schema.json"
        path.write_text(json.dumps(TypeAdapter(kind).json_schema(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written
