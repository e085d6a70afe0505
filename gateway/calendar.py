"""When do people work? Working hours, Brazilian holidays and working days, in the tenant's time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

MAX_DAYS = 3700
"""How far ahead working time is counted before a calendar without any working day is refused."""


@lru_cache(maxsize=64)
def _holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


@dataclass(frozen=True, slots=True)
class Calendar:
    """Working time: `opens` to `closes` on `weekdays` (0 = Monday), but not on public holidays.

    `subdivision` is a state (`SP`), for state holidays. All moments taken and given are aware.
    """

    timezone: str = "America/Sao_Paulo"
    opens: time = time(9)
    closes: time = time(18)
    weekdays: frozenset[int] = frozenset(range(5))
    country: str = "BR"
    subdivision: str | None = None

    def local(self, moment: datetime) -> datetime:
        """The same moment on the tenant's wall clock."""
        return moment.astimezone(ZoneInfo(self.timezone))

    def is_working_day(self, day: date) -> bool:
        return day.weekday() in self.weekdays and day not in _holidays(
            self.country, self.subdivision, day.year
        )

    def is_working_time(self, moment: datetime) -> bool:
        local = self.local(moment)
        return self.is_working_day(local.date()) and self.opens <= local.time() < self.closes

    def add_working_time(self, start: datetime, span: timedelta) -> datetime:
        """The moment when `span` of working time has passed since `start`. Raises ValueError if it never does."""
        if span <= timedelta(0):
            return start
        for opens, closes in self._working_spans(start):
            if closes - opens >= span:
                return (opens + span).astimezone(start.tzinfo)
            span -= closes - opens
        raise ValueError("this calendar has no working time")

    def add_working_days(self, start: datetime, days: int) -> datetime:
        """The same time of day, `days` working days later. Raises ValueError if there are none."""
        local = self.local(start)
        day = local.date()
        for _ in range(MAX_DAYS):
            if days <= 0:
                moved = datetime.combine(day, local.time(), ZoneInfo(self.timezone))
                return moved.astimezone(start.tzinfo)
            day += timedelta(days=1)
            days -= self.is_working_day(day)
        raise ValueError("this calendar has no working day")

    def _working_spans(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """From `start` on, each working day's span, in UTC so that differences are real elapsed time."""
        zone, utc = ZoneInfo(self.timezone), ZoneInfo("UTC")
        day = self.local(start).date()
        for _ in range(MAX_DAYS):
            if self.is_working_day(day):
                opens = datetime.combine(day, self.opens, zone).astimezone(utc)
                closes = datetime.combine(day, self.closes, zone).astimezone(utc)
                if start < closes:
                    yield max(opens, start.astimezone(utc)), closes
            day += timedelta(days=1)
