"""When is silence news? Only against a habit, and never by chance."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.habits import ENOUGH, HOUR, LONGEST, WEEK, WEEKS, quiet

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)  # a Wednesday
FIRST = NOW - WEEKS * WEEK - (LONGEST + 1) * HOUR


def weekday(_: datetime) -> bool:
    return False


def week_of(number: Callable[[datetime], int], since: datetime = FIRST) -> dict[datetime, int]:
    """What comes in every hour up to now."""
    hours = int((NOW - since) / HOUR)
    return {hour: found for n in range(1, hours + 1) if (found := number(hour := NOW - n * HOUR))}


def silenced(counts: Mapping[datetime, int], hours: int) -> dict[datetime, int]:
    return {hour: number for hour, number in counts.items() if hour < NOW - hours * HOUR}


def office(hour: datetime) -> int:
    return 30 if hour.weekday() < 5 and 12 <= hour.hour < 21 else 0


def test_a_busy_source_is_judged_by_its_last_hour() -> None:
    counts = week_of(office)
    assert quiet(counts, NOW, FIRST, weekday) is None
    found = quiet(silenced(counts, 1), NOW, FIRST, weekday)
    assert found
    assert (found.hours, found.came, found.usual) == (1, 0, 30)


def test_a_few_are_silence_too_but_a_slow_hour_is_not() -> None:
    counts = week_of(office)
    assert quiet(counts | {NOW - HOUR: 3}, NOW, FIRST, weekday)
    assert quiet(counts | {NOW - HOUR: 4}, NOW, FIRST, weekday) is None


def test_nights_and_weekends_are_no_silence() -> None:
    counts = week_of(office)
    sunday = NOW - timedelta(days=3)
    assert quiet(counts, sunday, FIRST, weekday) is None
    night = NOW - timedelta(hours=9)
    assert quiet(counts, night, FIRST, weekday) is None


def test_a_source_that_falls_silent_over_night_is_found_in_the_morning() -> None:
    counts = silenced(week_of(office), 20)  # since yesterday, 19:00
    morning = NOW.replace(hour=12)
    assert quiet(counts, morning, FIRST, weekday), "its last evening hours are missed at noon already"


def test_a_small_source_takes_days_to_be_missed() -> None:
    counts = week_of(lambda hour: 1 if hour.hour in {9, 12, 15} or hour.hour in {10, 13, 16, 18} else 0)
    assert quiet(silenced(counts, 12), NOW, FIRST, weekday) is None
    found = quiet(silenced(counts, 72), NOW, FIRST, weekday)
    assert found
    assert 48 < found.hours <= LONGEST
    assert found.usual >= ENOUGH


def test_where_hardly_anything_ever_comes_silence_says_nothing() -> None:
    counts = week_of(lambda hour: 1 if hour.hour == 12 else 0)
    assert quiet(silenced(counts, 400), NOW, FIRST, weekday) is None


def test_one_odd_week_changes_no_habit() -> None:
    counts = week_of(office)
    without = {
        hour: number for hour, number in counts.items() if not NOW - 2 * WEEK < hour + HOUR <= NOW - WEEK
    }
    storm = counts | {NOW - HOUR - WEEK: 5000}
    assert quiet(storm, NOW, FIRST, weekday) is None, "30 came, as usual"
    assert quiet(without, NOW, FIRST, weekday) is None
    assert quiet(silenced(storm, 1), NOW, FIRST, weekday)


def test_a_silence_that_has_its_like_is_a_habit() -> None:
    counts = silenced(week_of(office), 1)
    del counts[NOW - HOUR - 3 * WEEK]
    assert quiet(counts, NOW, FIRST, weekday) is None


def test_a_young_source_has_no_habit() -> None:
    since = NOW - 2 * WEEK - timedelta(days=3)
    assert quiet(silenced(week_of(office, since), 5), NOW, since, weekday) is None
    since = NOW - 3 * WEEK - timedelta(days=4)
    assert quiet(silenced(week_of(office, since), 5), NOW, since, weekday)


def test_a_holiday_is_not_judged() -> None:
    counts = silenced(week_of(office), 5)
    assert quiet(counts, NOW, FIRST, lambda hour: hour.date() == NOW.date()) is None


@pytest.mark.parametrize("usual", [2, 8, 40])
def test_chance_alone_raises_no_alarm(usual: int) -> None:
    """150 sources that are told at random: nobody is woken up."""
    chance = random.Random(usual)
    for _ in range(150):
        counts = {NOW - n * HOUR: _poisson(chance, usual) for n in range(1, int((NOW - FIRST) / HOUR) + 1)}
        assert quiet(counts, NOW, FIRST, weekday) is None


def _poisson(chance: random.Random, mean: float) -> int:
    number, left = 0, chance.expovariate(1)
    while left < mean:
        number, left = number + 1, left + chance.expovariate(1)
    return number


@given(st.dictionaries(st.integers(0, 800), st.integers(0, 10_000), max_size=60))
def test_whatever_came_an_alarm_means_that_less_than_a_tenth_did(told: dict[int, int]) -> None:
    counts = {NOW - n * HOUR: number for n, number in told.items()}
    found = quiet(counts, NOW, FIRST, weekday)
    if found is not None:
        assert found.came <= found.usual / 10
        assert found.usual >= ENOUGH
        assert found.came == sum(
            number for hour, number in counts.items() if NOW - found.hours * HOUR <= hour < NOW
        )
