"""A piece of the campaign on the whole system, judged by what the exchange knows. What other people do to the account,
and what the exchange itself changes, may take brains minutes to get over: those families are in the long form only."""

from __future__ import annotations

from pathlib import Path

import pytest

from simex.server.chaos.kinds import FAMILIES
from tests.proof.campaign.report import growth_percent_per_hour, quantile, text
from tests.proof.campaign.run import Campaign


@pytest.mark.timeout(900)
def test_no_wrong_book_no_lost_event_no_hand_needed(tmp_path: Path, run_dir: Path, seed: int) -> None:
    families = tuple(name for name in FAMILIES if name not in ("foreign", "exchange"))
    figures = Campaign(tmp_path, run_dir, seed % 2**31, families).run(seconds=60)
    print(text(figures))
    assert sum(figures.faults.values()) >= 5, "too slow to prove anything"
    assert figures.books.judged > 100
    assert figures.intents > 20


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(one) for one in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert quantile([7.0], 0.99) == 7.0


def test_growth_is_told_only_of_what_came_after_the_warm_up() -> None:
    assert growth_percent_per_hour([(float(at), 1000) for at in range(0, 600, 10)]) is None
    flat = [(float(at), 2000 if at < 600 else 4000) for at in range(0, 4200, 10)]
    assert growth_percent_per_hour(flat) == 0.0
    rising = [(float(at), 100_000 + at * 10) for at in range(0, 4200, 10)]
    grown = growth_percent_per_hour(rising)
    assert grown is not None
    assert 30 < grown < 36  # 36,000 KiB an hour on some 110,000
