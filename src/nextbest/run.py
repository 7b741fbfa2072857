"""What a run left behind, as tables that a notebook shows."""

import json
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextbest.errors import Problem, UsageError
from nextbest.playbook.bind import Bound, bound
from nextbest.playbook.load import load

if TYPE_CHECKING:
    import pandas as pd


@lru_cache(maxsize=16)
def _book(folder: Path, sha256: str, as_of: str) -> Bound:
    """Kept, because reading a playbook takes longer than all else that is asked of a run. `sha256` tells its contents apart."""
    return bound(load(folder), date.fromisoformat(as_of))


class Run:
    """An output folder of `decide`. Its tables are pandas DataFrames, read when asked for.

    Raises UsageError where the folder holds no run.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "run.json").is_file():
            raise UsageError([Problem(str(self.folder), "not an output folder: no run.json", "run `nextbest decide` first")])

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json: hashes, versions, as-of day, counts, problems, timings."""
        try:
            record: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except ValueError:
            raise UsageError([Problem(str(self.folder / "run.json"), "damaged: not JSON", "run `nextbest decide` again")]) from None
        return record

    @property
    def book(self) -> Bound:
        """The playbook that the run was made with, bound for its day."""
        return _book(self.folder / "playbook", self.record["playbook"]["sha256"], self.record["as_of"])

    @property
    def recommendations(self) -> "pd.DataFrame":
        """One row per customer: the code, product, push_notification."""
        import pandas as pd  # a run from the command line needs none

        table = pd.read_csv(self.folder / "recommendations.csv", keep_default_na=False, dtype=str)
        # Codes are numbers only where the run took them for numbers: 007 stays 007.
        key = table.columns[0]
        kind = self._parquet("decisions", columns=[key])[key].dtype
        return table.astype({key: kind}) if len(table) else table

    @property
    def decisions(self) -> "pd.DataFrame":
        """One row per customer and offer, with every verdict."""
        return self._parquet("decisions")

    @property
    def features(self) -> "pd.DataFrame":
        """One row per customer scored: everything the rules saw."""
        return self._parquet("features")

    @property
    def messages(self) -> "pd.DataFrame":
        """One row per customer with a first offer: the text and its facts, or what held it back."""
        return self._parquet("messages")

    @property
    def rejects(self) -> "pd.DataFrame":
        """One row per input row that was left out or is odd, with the reason."""
        return self._parquet("rejects")

    def _parquet(self, name: str, columns: list[str] | None = None) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_parquet(self.folder / f"{name}.parquet", columns=columns)

    def _repr_html_(self) -> str:
        return str(self.recommendations.to_html(index=False, max_rows=10))
