"""The days a decision looks at, months' ends right."""

from datetime import date, timedelta

import pytest

from nextbest.playbook.window import Window, horizon, last_month, month_back, month_starts


@pytest.mark.parametrize(
    ("as_of", "start"),
    [
        ((2025, 8, 31), (2025, 6, 1)),
        ((2025, 9, 30), (2025, 7, 1)),
        ((2025, 2, 28), (2024, 12, 1)),
        ((2024, 2, 29), (2023, 12, 1)),
        ((2025, 9, 10), (2025, 6, 11)),
        ((2025, 5, 30), (2025, 3, 1)),
    ],
)
def test_three_months(as_of, start):
    assert horizon(date(*as_of), 3) == Window(date(*start), date(*as_of))


def test_the_last_month_is_a_complete_one():
    assert last_month(date(2025, 8, 31)) == Window(date(2025, 8, 1), date(2025, 8, 31))
    assert last_month(date(2025, 9, 10)) == Window(date(2025, 8, 1), date(2025, 8, 31))
    assert last_month(date(2025, 1, 1)) == Window(date(2024, 12, 1), date(2024, 12, 31))


def test_months_counted_back_tile_the_horizon():
    assert month_starts(date(2025, 8, 31), 3) == [date(2025, 8, 1), date(2025, 7, 1), date(2025, 6, 1)]
    for ordinal in range(date(2024, 1, 1).toordinal(), date(2026, 1, 1).toordinal()):
        day = date.fromordinal(ordinal)
        latest, middle, first = (month_back(day, back) for back in (1, 2, 3))
        assert (first.start, latest.end) == (horizon(day, 3).start, day)
        assert (first.end, middle.end) == (middle.start - timedelta(days=1), latest.start - timedelta(days=1))


def test_a_month_back_is_the_calendars_where_the_day_is_a_months_last():
    assert month_back(date(2025, 8, 31), 2) == Window(date(2025, 7, 1), date(2025, 7, 31))
    assert month_back(date(2025, 8, 15), 2) == Window(date(2025, 6, 16), date(2025, 7, 15))
