"""Unseen simulated worlds, where they are there: what the issue asks of a ranking, held on the mean of the worlds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextbest.measure.ranking import by_customer
from nextbest.services.rank import rank

CASES = Path(__file__).parents[3] / "shared" / "cases" / "upsell"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
def test_ranking_of_unseen_campaigns(tmp_path):
    """One world here, all of them in bench/learning.py.

    The floors lie below what was measured (docs/explanation/how-good.md): a change that costs skill shows.
    """
    shares, aps = [], []
    for world in sorted(CASES.glob("world-*"))[:1]:
        scores = pd.read_parquet(rank(world, out=tmp_path / f"{world.name}.parquet").path)
        judged = pd.read_csv(world / "evaluation.csv").merge(scores, how="left").merge(pd.read_parquet(world / "truth.parquet"))
        assert judged.score.notna().all() and len(scores) == len(judged)
        taken = judged.label.to_numpy(float)
        mine, best = (by_customer(judged.customer_id, judged[name].to_numpy(), taken, 5).mean() for name in ("score", "true_score"))
        shares.append(mine.ndcg / best.ndcg)
        aps.append(mine["map"] / best["map"])
    assert np.mean(shares) > 0.91 and np.mean(aps) > 0.9
