"""Days and moments as people give them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from nextbest.errors import Problem, UsageError
from nextbest.playbook.bind import Bound
from nextbest.playbook.load import Loaded
from nextbest.playbook.params import latest_start


def moment_of(at: datetime | str | None, book: Bound) -> datetime:
    """When the decisions are for, in UTC; without a zone it is the playbook's. Raises UsageError for what is no moment."""
    zone = ZoneInfo(book.model.contact.time_zone)
    if at is None:
        at = datetime.combine(book.as_of + timedelta(days=1), datetime.min.time())
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    except ValueError:
        raise UsageError([Problem(f"at {at}", "not a moment", "write it as 2025-09-01T10:00")]) from None
    day_of(moment.date())
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def day_of(value: date | str, called: str = "as-of") -> date:
    """A day as a date; `called`: what it is, where it is none. Raises UsageError for what is not one, or lies outside 1900–2200."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value.date() if isinstance(value, datetime) else value
    except ValueError:
        raise UsageError([Problem(f"{called} {value}", "not a day", "write it as 2025-08-31")]) from None
    if not 1900 <= day.year <= 2200:
        raise UsageError([Problem(f"{called} {value}", "no day that anyone decides for", "write it as 2025-08-31")])
    return day


def a_day(loaded: Loaded) -> date:
    """The day for a playbook whose tables have no dates: any does. Raises UsageError where rows have dates."""
    if dated := [name for name, source in loaded.model.business.sources.items() if "date" in source.columns]:
        raise UsageError([Problem("as-of", f"{', '.join(dated)}: rows have dates", "say --as-of 2025-08-31")])
    return latest_start(loaded.model)
