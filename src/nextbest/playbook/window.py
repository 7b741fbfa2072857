"""The days a decision looks at. Months' ends are right: three months to 31 August start on 1 June."""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Window:
    """Days from `start` to `end`, both included."""

    start: date
    end: date


def months_before(day: date, months: int) -> date:
    """The same day `months` earlier, or that month's last day where it is shorter."""
    index = day.year * 12 + day.month - 1 - months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def is_month_end(day: date) -> bool:
    """Whether `day` is the last of its month."""
    return (day + timedelta(days=1)).day == 1


def horizon(as_of: date, months: int) -> Window:
    """The `months` that end with the as-of day; whole calendar months where it is a month's last day."""
    if is_month_end(as_of):
        return Window(months_before(as_of.replace(day=1), months - 1), as_of)
    return Window(months_before(as_of, months) + timedelta(days=1), as_of)


def month_starts(as_of: date, months: int) -> list[date]:
    """The first day of each month of the horizon, latest month first (its month_back is 1)."""
    return [horizon(as_of, back).start for back in range(1, months + 1)]


def month_back(as_of: date, back: int) -> Window:
    """One month of the horizon, the latest for 1."""
    end = as_of if back == 1 else horizon(as_of, back - 1).start - timedelta(days=1)
    return Window(horizon(as_of, back).start, end)


def last_month(as_of: date) -> Window:
    """The last complete calendar month by the end of the as-of day."""
    end = as_of if is_month_end(as_of) else as_of.replace(day=1) - timedelta(days=1)
    return Window(end.replace(day=1), end)
