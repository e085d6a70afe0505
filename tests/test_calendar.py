"""Working time, over nights, weekends, holidays and changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calendar import Calendar

SP = ZoneInfo("America/Sao_Paulo")
CALENDAR = Calendar()
HOUR = timedelta(hours=1)


def at(text: str, zone: ZoneInfo = SP) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-03-02", True),  # a Monday
        ("2026-02-28", False),  # a Saturday
        ("2026-03-01", False),  # a Sunday
        ("2026-01-01", False),  # Confraternização Universal
        ("2026-04-03", False),  # Paixão de Cristo: it moves with Easter
        ("2025-04-18", False),
        ("2026-04-21", False),  # Tiradentes
        ("2026-05-01", False),
        ("2026-09-07", False),
        ("2026-10-12", False),
        ("2026-11-02", False),
        ("2026-11-20", False),  # Consciência Negra: national since 2024
        ("2023-11-20", True),
        ("2026-12-25", False),
        ("2026-02-16", True),  # Carnaval is no public holiday: the law leaves it to each employer
        ("2026-02-17", True),
        ("2026-02-18", True),  # nor is Ash Wednesday
        ("2026-06-04", True),  # nor Corpus Christi
        ("2026-07-09", True),  # a holiday of São Paulo only
    ],
)
def test_these_days_are_working_days_and_these_are_not(day, works):
    assert CALENDAR.is_working_day(date.fromisoformat(day)) is works


def test_a_state_has_holidays_of_its_own():
    assert not Calendar(subdivision="SP").is_working_day(date(2026, 7, 9))
    assert Calendar(subdivision="RJ").is_working_day(date(2026, 7, 9))


@pytest.mark.parametrize(
    ("moment", "works"),
    [
        ("2026-03-02T08:59:59", False),
        ("2026-03-02T09:00", True),
        ("2026-03-02T17:59:59", True),
        ("2026-03-02T18:00", False),
        ("2026-03-02T00:00", False),
        ("2026-02-28T12:00", False),
        ("2026-04-21T12:00", False),
    ],
)
def test_working_time_begins_with_the_first_second_and_ends_before_the_last(moment, works):
    assert CALENDAR.is_working_time(at(moment)) is works


def test_the_same_moment_is_working_time_in_whatever_zone_it_is_told():
    noon = at("2026-03-02T12:00")
    assert CALENDAR.is_working_time(noon.astimezone(UTC))
    assert CALENDAR.is_working_time(noon.astimezone(ZoneInfo("Asia/Tokyo"))), "there it is Tuesday already"


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-03-02T10:00", 2, "2026-03-02T12:00"),
        ("2026-03-02T16:00", 2, "2026-03-02T18:00"),
        ("2026-03-02T17:00", 2, "2026-03-03T10:00"),
        ("2026-03-02T03:00", 1, "2026-03-02T10:00"),
        ("2026-03-02T20:00", 1, "2026-03-03T10:00"),
        ("2026-03-02T18:00", 1, "2026-03-03T10:00"),
        ("2026-03-02T00:00", 9, "2026-03-02T18:00"),
        ("2026-03-06T17:00", 2, "2026-03-09T10:00"),  # over a weekend
        ("2026-03-07T12:00", 1, "2026-03-09T10:00"),  # from within one
        ("2026-04-02T17:00", 2, "2026-04-06T10:00"),  # over Good Friday and Easter
        ("2026-04-20T17:00", 2, "2026-04-22T10:00"),  # over Tiradentes, a Tuesday
        ("2026-12-31T17:00", 2, "2027-01-04T10:00"),  # over New Year
        ("2026-03-02T09:00", 45, "2026-03-06T18:00"),
        ("2026-03-02T09:00", 46, "2026-03-09T10:00"),
    ],
)
def test_working_time_passes_only_while_people_work(start, hours, end):
    assert CALENDAR.add_working_time(at(start), hours * HOUR) == at(end)


def test_no_time_at_all_is_now_also_at_night():
    night = at("2026-03-02T03:00")
    assert CALENDAR.add_working_time(night, timedelta(0)) == night
    assert CALENDAR.add_working_time(night, -HOUR) == night


def test_the_answer_is_in_the_zone_of_the_question():
    assert CALENDAR.add_working_time(at("2026-03-02T10:00").astimezone(UTC), HOUR).tzinfo is UTC
    assert CALENDAR.add_working_days(at("2026-03-02T10:00").astimezone(UTC), 1).tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-03-02T10:00", 0, "2026-03-02T10:00"),
        ("2026-03-02T10:00", 1, "2026-03-03T10:00"),
        ("2026-03-06T22:30", 1, "2026-03-09T22:30"),
        ("2026-03-07T10:00", 1, "2026-03-09T10:00"),
        ("2026-04-20T10:00", 1, "2026-04-22T10:00"),
        ("2026-04-02T10:00", 2, "2026-04-07T10:00"),
        ("2026-03-02T10:00", 5, "2026-03-09T10:00"),
    ],
)
def test_working_days_keep_the_time_of_day(start, days, end):
    assert CALENDAR.add_working_days(at(start), days) == at(end)


NEW_YORK = ZoneInfo("America/New_York")
ABROAD = Calendar(
    timezone="America/New_York", country="US", opens=time(0), closes=time(6), weekdays=frozenset(range(7))
)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-03-08T00:00", 5, "2026-03-08T06:00"),  # 2:00 to 3:00 did not happen that night
        ("2026-03-08T01:00", 2, "2026-03-08T04:00"),
        ("2026-11-01T00:00", 5, "2026-11-01T04:00"),  # 1:00 to 2:00 happened twice
        ("2026-11-01T00:00", 7, "2026-11-01T06:00"),
    ],
)
def test_an_hour_is_an_hour_when_the_clocks_are_changed(start, hours, end):
    assert ABROAD.add_working_time(at(start, NEW_YORK), hours * HOUR) == at(end, NEW_YORK)


def test_a_time_of_day_that_is_left_out_comes_an_hour_later():
    moved = ABROAD.add_working_days(at("2026-03-07T02:30", NEW_YORK).astimezone(UTC), 1)
    assert moved.astimezone(NEW_YORK).isoformat() == "2026-03-08T03:30:00-04:00"


def test_brazil_kept_summer_time_once_and_it_is_known():
    winter, summer = at("2018-10-01T10:00"), at("2018-12-03T10:00")
    assert (winter.utcoffset(), summer.utcoffset()) == (timedelta(hours=-3), timedelta(hours=-2))
    assert CALENDAR.add_working_time(at("2018-11-01T17:00"), 2 * HOUR) == at("2018-11-05T10:00")


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar(weekdays=frozenset()),
        Calendar(opens=time(9), closes=time(9)),
        Calendar(opens=time(18), closes=time(9)),
    ],
)
def test_a_calendar_without_working_time_is_an_error_and_no_endless_search(calendar):
    with pytest.raises(ValueError, match="no working"):
        calendar.add_working_time(at("2026-03-02T10:00"), HOUR)


def test_a_calendar_without_working_days_is_an_error_and_no_endless_search():
    with pytest.raises(ValueError, match="no working day"):
        Calendar(weekdays=frozenset()).add_working_days(at("2026-03-02T10:00"), 1)


CALENDARS = st.builds(
    Calendar,
    timezone=st.sampled_from(["America/Sao_Paulo", "America/New_York", "Europe/Lisbon", "Asia/Kathmandu"]),
    opens=st.sampled_from([time(0), time(8, 30), time(9)]),
    closes=st.sampled_from([time(12), time(18), time(23, 59)]),
    weekdays=st.frozensets(st.integers(0, 6), min_size=1),
    country=st.sampled_from(["BR", "US", "PT"]),
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SPANS = st.timedeltas(timedelta(seconds=1), timedelta(hours=60))


@given(CALENDARS, MOMENTS, SPANS)
def test_it_ends_in_working_time(calendar, start, span):
    end = calendar.add_working_time(start, span)
    assert end - start >= span
    assert calendar.is_working_time(end - timedelta(microseconds=1))


@given(CALENDARS, MOMENTS, MOMENTS, SPANS, SPANS)
def test_later_or_longer_never_ends_earlier(calendar, one, two, span, more):
    first, second = sorted((one, two))
    assert calendar.add_working_time(first, span) <= calendar.add_working_time(second, span)
    assert calendar.add_working_time(first, span) < calendar.add_working_time(first, span + more)


@given(CALENDARS, MOMENTS, SPANS, SPANS)
def test_one_span_after_the_other_is_both_together(calendar, start, span, more):
    middle = calendar.add_working_time(start, span)
    assert calendar.add_working_time(middle, more) == calendar.add_working_time(start, span + more)


@given(CALENDARS, MOMENTS, st.integers(1, 30))
def test_working_days_end_on_one(calendar, start, days):
    end = calendar.add_working_days(start, days)
    assert calendar.is_working_day(calendar.local(end).date())
    assert (end - start) > timedelta(days=days - 1)
